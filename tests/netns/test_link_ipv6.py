"""IPv6's own: neighbour discovery, extension headers, link-local addresses with a zone."""

from __future__ import annotations

import pytest

from netkat import Stack
from tests.helpers.capture import ICMPV6, capture
from tests.helpers.exchange import run, tcp_echo, udp_echo
from tests.helpers.netns import Pair
from tests.helpers.packets import (
    IPV6,
    UDP,
    ethernet,
    fragment_header,
    ipv6,
    ipv6_extended,
    options_header,
    udp,
)
from tests.helpers.peers import peer
from tests.helpers.wires import send, wire

SOLICITATION, ADVERTISEMENT = 135, 136


def test_neighbour_discovery(pair: Pair) -> None:
    """Nobody knows anybody: netkat asks, the kernel answers the peer that asks back."""
    for side in (pair.host, pair.peer):
        side.ip("neigh flush all")
    with peer(pair.peer, "tcp-echo") as server, capture(pair.peer) as seen:
        tcp_echo(pair.host, pair.peer.ipv6, server.port)
    asked = [p for p in seen.packets if p.protocol == ICMPV6 and p.icmp_type == SOLICITATION]
    answered = [p for p in seen.packets if p.protocol == ICMPV6 and p.icmp_type == ADVERTISEMENT]
    assert str(asked[0].source) == pair.host.ipv6
    assert str(answered[0].source) == pair.peer.ipv6
    assert pair.host.run(["ip", "-6", "neigh", "show", pair.peer.ipv6]).stdout.split()[:1] in (
        [],
        [pair.peer.ipv6],
    )


@pytest.mark.parametrize("step", ["tcx", "clsact", "cbpf"])
def test_extension_headers(pair: Pair, step: str) -> None:
    """Hop-by-hop and destination options, an atomic fragment (RFC 6946): ours all the same."""
    macs = [bytes.fromhex(side.mac.replace(":", "")) for side in (pair.peer, pair.host)]
    chains = {
        b"destination": [options_header(60)],
        b"hop by hop": [options_header(0), options_header(60, 3)],
        b"atomic": [fragment_header(0)],
        b"all": [options_header(0), options_header(60), fragment_header(0), options_header(60)],
    }
    with (
        Stack(netns=pair.host.name, guard=step) as stack,
        stack.open_datagram((pair.peer.ipv6, 5000), 5, ("", 4000)) as conn,
        wire(pair.peer) as cable,
        capture(pair.peer) as seen,
    ):
        for payload, headers in chains.items():
            plain = ipv6(pair.peer.ipv6, pair.host.ipv6, UDP, udp(5000, 4000, payload))
            datagram = plain[40:]  # its checksum filled in
            packet = ipv6_extended(pair.peer.ipv6, pair.host.ipv6, headers, UDP, datagram)
            send(cable, [ethernet(packet, IPV6, source=macs[0], destination=macs[1])])
            assert conn.recv(100) == payload
    assert not [p for p in seen.packets if p.icmp_error]


def test_link_local_with_zone(pair: Pair) -> None:
    with peer(pair.peer, "tcp-echo") as tcp, peer(pair.peer, "udp-echo") as udp_server:
        address = f"{pair.peer.link_local}%eth0"
        said = tcp_echo(pair.host, address, tcp.port)
        assert pair.host.link_local in said
        udp_echo(pair.host, address, udp_server.port)
        tcp_echo(pair.host, pair.peer.link_local, tcp.port, "-i", "eth0")


def test_link_local_without_zone(pair: Pair) -> None:
    done = run(pair.host, pair.peer.link_local, "9", check=False)
    assert done.returncode == 2
    assert "on which interface?" in done.stderr and "%eth0" in done.stderr
