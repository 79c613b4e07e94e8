"""Datagrams larger than the MTU, in fragments there and back."""

from __future__ import annotations

import pytest

from tests.helpers.capture import Packet, capture
from tests.helpers.exchange import udp_echo
from tests.helpers.netns import Pair
from tests.helpers.peers import peer

SIZES = (1_473, 3_000, 20_000, 65_000)
STEPS = ["tcx", "clsact", "cbpf", "socket"]


def is_later_fragment(packet: Packet) -> bool:
    """Offset not 0, of IPv4 or in a fragment header that comes first."""
    body = packet.frame[14:]
    if packet.ethertype == 0x0800:
        return bool(int.from_bytes(body[6:8], "big") & 0x1FFF)
    return packet.ethertype == 0x86DD and body[6] == 44 and body[42:44] > b"\x00\x07"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("version", [4, 6])
def test_large_datagrams_both_ways(pair: Pair, version: int, step: str) -> None:
    """The kernel answers no fragment, not even when it gives up waiting for the first."""
    with peer(pair.peer, "udp-echo") as server, capture(pair.peer) as seen:
        udp_echo(pair.host, pair.peer.address(version), server.port, *SIZES, guard=step)
    senders = {str(packet.source) for packet in seen.packets if is_later_fragment(packet)}
    assert senders == {pair.host.address(version), pair.peer.address(version)}
    ours = [p for p in seen.packets if str(p.source) == pair.host.address(version)]
    assert not any(packet.icmp_error for packet in ours)
