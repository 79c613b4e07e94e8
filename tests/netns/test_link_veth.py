"""A veth: what a pod has."""

from __future__ import annotations

from tests.helpers.exchange import exchange_all
from tests.helpers.netns import Pair


def test_veth(pair: Pair) -> None:
    exchange_all(pair.host, pair.peer, {4: pair.peer.ipv4, 6: pair.peer.ipv6})
