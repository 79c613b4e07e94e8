"""A source address that is removed while a connection is being made."""

from __future__ import annotations

import pytest

import netkat
from netkat.engine.uplink import Uplink
from netkat.errors import NoRoute
from tests.helpers.netns import Pair


def test_source_removed_before_the_first_packet_is_a_typed_error(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_source = Uplink.add_source

    def add_and_remove(uplink: Uplink, source: object) -> None:
        add_source(uplink, source)  # type: ignore[arg-type]
        uplink.stack.remove_address(source)  # type: ignore[arg-type]

    monkeypatch.setattr(Uplink, "add_source", add_and_remove)
    with netkat.Stack(netns=pair.host.name) as stack:
        for connect in (stack.create_connection, stack.open_datagram):
            with pytest.raises(NoRoute, match=f"{pair.host.ipv4} is no longer assigned to eth0"):
                connect((pair.peer.ipv4, 9), timeout=2)
