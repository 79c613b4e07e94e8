"""A device without Ethernet header: tc and AF_PACKET see bare IP packets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from netkat.errors import BadArgument
from tests.helpers.exchange import datagrams, exchange_all
from tests.helpers.netns import Namespace, namespace
from tests.helpers.tun_link import tun_link

OURS = {4: "10.98.0.1", 6: "fd98::1"}
PEER = {4: "10.98.0.2", 6: "fd98::2"}


@pytest.fixture
def ends() -> Iterator[tuple[Namespace, Namespace]]:
    with namespace("nkl", "host") as host, namespace("nkl", "peer") as peer, tun_link(host, peer):
        for side, addresses in ((host, OURS), (peer, PEER)):
            side.ip(
                f"addr add {addresses[4]}/24 dev tun0",
                f"addr add {addresses[6]}/64 dev tun0 nodad",
                "link set tun0 up",
            )
        yield host, peer


def test_tun(ends: tuple[Namespace, Namespace]) -> None:
    exchange_all(ends[0], ends[1], PEER, server_interface="tun0")


def test_no_mac_on_a_tun(ends: tuple[Namespace, Namespace]) -> None:
    """--via with a MAC makes no sense there, and is refused before anything is sent."""
    with (
        pytest.raises(BadArgument, match="no Ethernet header"),
        datagrams(ends[0], PEER[4], 9, via=bytes.fromhex("020000000002")),
    ):
        pass
