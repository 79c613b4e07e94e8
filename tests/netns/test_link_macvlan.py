"""A macvlan over the link: frames of a MAC of its own leave by another interface."""

from __future__ import annotations

import pytest

from tests.helpers.exchange import exchange_all
from tests.helpers.netns import Pair


@pytest.mark.parametrize("mode", ["bridge", "private"])
def test_macvlan(pair: Pair, mode: str) -> None:
    host = pair.host
    host.ip(
        f"addr flush dev {host.interface}",
        f"link add mv0 link {host.interface} type macvlan mode {mode}",
        f"addr add {host.ipv4}/24 dev mv0",
        f"addr add {host.ipv6}/64 dev mv0 nodad",
        "link set mv0 up",
    )
    exchange_all(host, pair.peer, {4: pair.peer.ipv4, 6: pair.peer.ipv6})
