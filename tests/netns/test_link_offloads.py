"""Offloads off: every checksum made and verified by netkat, every frame as on a cable."""

from __future__ import annotations

import pytest

from tests.helpers.capture import capture
from tests.helpers.exchange import tcp_echo, udp_echo
from tests.helpers.netns import netns_pair
from tests.helpers.peers import peer


@pytest.mark.parametrize("version", [4, 6])
def test_offloads_off(version: int) -> None:
    with (
        netns_pair("nkl", offloads=False) as pair,
        peer(pair.peer, "tcp-echo") as tcp,
        peer(pair.peer, "udp-echo") as udp,
    ):
        address = pair.peer.address(version)
        with capture(pair.peer) as seen:
            tcp_echo(pair.host, address, tcp.port, size=2_000_000)
            udp_echo(pair.host, address, udp.port, 1, 1400)
        sizes = [len(packet.frame) for packet in seen.packets]
        assert max(sizes) == 1514
