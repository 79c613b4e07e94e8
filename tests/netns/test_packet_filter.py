"""The socket filter on a link: what real kernels send, and a million packets of others."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from netkat.flow import Flow, Protocol
from tests.helpers import packets
from tests.helpers.frames import OwnSendBatch
from tests.helpers.guard_lab import quiet
from tests.helpers.netns import Pair, netns_pair
from tests.helpers.packets import ARP, ICMP, ICMPV6, IPV4, IPV6, MAC_B, SYN, TCP, UDP, ip, tcp, udp
from tests.helpers.wires import (
    EVERYTHING,
    between,
    filter_of,
    flow_of,
    frames,
    nothing_more,
    send,
    udp_socket,
    wire,
)

BOTH = pytest.mark.parametrize("version", [4, 6])
ETHERTYPE = {4: IPV4, 6: IPV6}
TRANSPORT = {4: 34, 6: 54}
"""Where the transport header starts in a frame."""


@pytest.fixture
def pair() -> Iterator[Pair]:
    with netns_pair("nkw", offloads=False) as ends:
        quiet(ends)
        yield ends


def outgoing(pair: Pair, flow: Flow, body: bytes) -> bytes:
    packet = ip(flow.local, str(flow.remote), int(flow.protocol), body)
    return between(pair.host, pair.peer, packet, ETHERTYPE[flow.version])


@BOTH
def test_a_rst_and_an_icmp_error_of_the_peers_kernel(pair: Pair, version: int) -> None:
    for protocol in Protocol:
        flow = flow_of(pair, version, protocol, 4000, 5000)
        with wire(pair.host, program=filter_of(flow)) as ours:
            body = tcp(4000, 5000) if protocol is Protocol.TCP else udp(4000, 5000, b"x")
            send(ours, [outgoing(pair, flow, body)])
            (answer,) = frames(ours, 1)
            start = TRANSPORT[version]
            if protocol is Protocol.TCP:
                assert answer[start + 13] & packets.RST
            else:
                assert tuple(answer[start : start + 2]) == ((3, 3) if version == 4 else (1, 4))
            # The same to a port that is not the flow's: its answers are not ours.
            other = tcp(4001, 5000) if protocol is Protocol.TCP else udp(4001, 5000, b"x")
            send(ours, [outgoing(pair, flow, other)])
            nothing_more(ours)
            assert ours.statistics().received == 1


@BOTH
def test_every_fragment_of_a_datagram(pair: Pair, version: int) -> None:
    flow = flow_of(pair, version, Protocol.UDP, 4000, 5000)
    with (
        udp_socket(pair.peer, pair.peer.address(version), 5000) as peer,
        wire(pair.host, program=filter_of(flow)) as ours,
    ):
        peer.sendto(bytes(6000), (str(flow.local), 4000))
        assert len(frames(ours, 5)) == 5
        nothing_more(ours)


def test_answers_of_the_next_hop_and_of_nobody_else(pair: Pair) -> None:
    """Real ARP replies and neighbour advertisements, asked for by two addresses of the peer."""
    pair.peer.ip("addr add 10.99.0.77/24 dev eth0", "addr add fd99::77/64 dev eth0 nodad")
    host_mac = bytes.fromhex(pair.host.mac.replace(":", ""))
    for version, other in ((4, "10.99.0.77"), (6, "fd99::77")):
        flow = flow_of(pair, version, Protocol.TCP, 4000, 80)
        hop = pair.peer.ip_address(version)
        asked = []
        for target in (other, str(hop)):
            if version == 4:
                question = packets.arp(1, pair.host.ipv4, target, sender_mac=host_mac)
                asked.append(between(pair.host, pair.peer, question, ARP))
            else:
                option = bytes([1, 1]) + host_mac
                body = packets.neighbor(135, target, flags=0, options=option)
                question = ip(pair.host.ipv6, target, ICMPV6, body, ttl=255)
                asked.append(between(pair.host, pair.peer, question, IPV6))
        with wire(pair.host, program=filter_of(flow, hop=hop)) as ours:
            send(ours, asked)
            (answer,) = frames(ours, 1)
            assert hop.packed in answer
            nothing_more(ours)
        listener = Flow(flow.protocol, flow.local, flow.local_port)
        with wire(pair.host, program=filter_of(listener)) as ours:
            send(ours, asked)
            assert len(frames(ours, 2)) == 2


@pytest.mark.parametrize(("tag", "ours_too"), [(0, True), (0xE000, True), (5, False)])
def test_a_tagged_frame_is_another_networks(pair: Pair, tag: int, ours_too: bool) -> None:
    """The kernel takes the tag out before the filter sees the frame; id 0 is only a priority."""
    flow = flow_of(pair, 4, Protocol.UDP, 4000, 5000)
    packet = ip(pair.peer.ipv4, pair.host.ipv4, UDP, udp(5000, 4000, b"tagged"))
    tagged = tag.to_bytes(2, "big") + IPV4.to_bytes(2, "big") + packet
    with wire(pair.peer) as theirs, wire(pair.host, program=filter_of(flow)) as ours:
        send(theirs, [between(pair.peer, pair.host, tagged, 0x8100)])
        if ours_too:
            (frame,) = frames(ours, 1)
            assert frame[12:] == IPV4.to_bytes(2, "big") + packet
        nothing_more(ours)


def test_a_frame_for_another_hosts_mac_is_not_ours(pair: Pair) -> None:
    """A promiscuous interface shows them."""
    pair.host.ip("link set eth0 promisc on")
    flow = flow_of(pair, 4, Protocol.UDP, 4000, 5000)
    packet = ip(pair.peer.ipv4, pair.host.ipv4, UDP, udp(5000, 4000, b"x"))
    with wire(pair.peer) as theirs, wire(pair.host, program=filter_of(flow)) as ours:
        send(theirs, [packets.ethernet(packet, IPV4, destination=MAC_B)])
        nothing_more(ours)
        send(theirs, [between(pair.peer, pair.host, packet, IPV4)])
        frames(ours, 1)


def test_changing_the_filter_loses_nothing(pair: Pair) -> None:
    """A flow that is in every filter, while others come and go beside it."""
    flow = flow_of(pair, 4, Protocol.UDP, 4000, 5000)
    count, payload = 20000, b"steady"
    packet = ip(pair.peer.ipv4, pair.host.ipv4, UDP, udp(5000, 4000, payload))
    batch = OwnSendBatch([between(pair.peer, pair.host, packet, IPV4)] * 50)
    others = [flow_of(pair, 4, Protocol.TCP, port, 80) for port in range(1, 30)]
    with wire(pair.peer) as theirs, wire(pair.host, program=filter_of(flow)) as ours:
        for round_ in range(count // batch.capacity):
            theirs.send(batch, batch.capacity)
            ours.set_filter(filter_of(flow, *others[: round_ % len(others)]))
        assert ours.statistics().received == count


def test_a_filter_too_large_for_the_socket_leaves_the_old_one(pair: Pair) -> None:
    from netkat.errors import NetkatError

    most = pair.host.sysctl("net.core.optmem_max")
    flow = flow_of(pair, 4, Protocol.UDP, 4000, 5000)
    large = filter_of(*(flow_of(pair, 4, Protocol.TCP, port, 80) for port in range(1, 2500)))
    with (
        udp_socket(pair.peer, pair.peer.ipv4, 5000) as peer,
        wire(pair.host, program=filter_of(flow)) as ours,
    ):
        pair.host.sysctl("net.core.optmem_max", 20480)
        try:
            with pytest.raises(NetkatError, match="optmem_max") as fault:
                ours.set_filter(large)
            assert fault.value.hint == "raise the limit: sysctl -w net.core.optmem_max=131072"
            half = filter_of(
                *(flow_of(pair, 4, Protocol.UDP, port, 5000) for port in range(3500, 4300))
            )
            for _ in range(3):  # too large for two of it side by side
                ours.set_filter(half)
        finally:
            pair.host.sysctl("net.core.optmem_max", most)
        peer.sendto(b"x", (pair.host.ipv4, 4000))
        frames(ours, 1)


def foreign_frames(pair: Pair, flow: Flow) -> list[bytes]:
    """Small frames that are not the flow's: other ports, hosts and protocols, by one field each."""
    randomly = random.Random(1)
    host, peer, nobody = pair.host.ipv4, pair.peer.ipv4, "10.99.0.200"
    quoted = packets.ipv4(host, peer, UDP, udp(4001, 5000, b"x"))
    bodies = [
        ip(peer, host, UDP, udp(5000, 4001)),
        ip(peer, host, UDP, udp(5001, 4000)),
        ip(peer, host, TCP, tcp(5000, 4000, flags=SYN)),
        ip(nobody, host, UDP, udp(5000, 4000)),
        ip(peer, nobody, UDP, udp(5000, 4000)),
        ip(peer, host, ICMP, packets.icmp(3, 3, quoted)),
        ip(peer, host, ICMP, packets.icmp(8, 0, b"ping")),
        ip(nobody, host, UDP, bytes(24), offset=1480),
        ip(peer, host, 132, bytes(24)),
    ]
    bodies += [
        ip(peer, host, UDP, udp(randomly.randrange(1, 65536), randomly.randrange(4001, 65536)))
        for _ in range(40)
    ]
    made = [between(pair.peer, pair.host, body, IPV4) for body in bodies]
    for body in (
        ip(pair.peer.ipv6, pair.host.ipv6, UDP, udp(5000, 4000)),
        ip(pair.peer.ipv6, pair.host.ipv6, TCP, tcp(5000, 4000)),
        ip(pair.peer.ipv6, pair.host.ipv6, ICMPV6, packets.icmp(128, 0, b"ping")),
    ):
        made.append(between(pair.peer, pair.host, body, IPV6))
    made.append(between(pair.peer, pair.host, packets.arp(2, nobody, host), ARP))
    question = packets.arp(1, nobody, "10.99.0.201")
    made.append(packets.ethernet(question, ARP, destination=b"\xff" * 6))
    made.append(between(pair.peer, pair.host, bytes(46), 0x88CC))
    return [made[n % len(made)] for n in range(500)]


def test_a_million_foreign_packets_wake_nobody(pair: Pair) -> None:
    """PACKET_STATISTICS stays at the flow's own count, and the socket never polls readable."""
    pair.host.sysctl("net.ipv4.icmp_echo_ignore_all", 1)
    pair.host.run(["iptables", "-t", "raw", "-I", "PREROUTING", "-j", "DROP"])
    pair.host.run(["ip6tables", "-t", "raw", "-I", "PREROUTING", "-j", "DROP"])
    flow = flow_of(pair, 4, Protocol.UDP, 4000, 5000)
    batch = OwnSendBatch(foreign_frames(pair, flow))
    own = ip(pair.peer.ipv4, pair.host.ipv4, UDP, udp(5000, 4000, b"own"))
    own_batch = OwnSendBatch([between(pair.peer, pair.host, own, IPV4)])
    rounds = 1_000_000 // batch.capacity
    hop = ip_address(pair.peer.ipv4)
    with (
        wire(pair.peer, qdisc_bypass=True) as theirs,
        wire(pair.host, program=filter_of(flow, hop=hop)) as ours,
    ):
        before = arrived(pair)
        began = time.monotonic()
        for round_ in range(rounds):
            theirs.send(batch, batch.capacity)
            if round_ % 200 == 199:
                theirs.send(own_batch, 1)
        took = time.monotonic() - began
        sent = theirs.statistics()
        assert sent.refused == {}
        assert arrived(pair) - before >= 1_000_000, "they did cross the interface"
        seen = ours.statistics()
        assert (seen.received, seen.dropped) == (rounds // 200, 0)
        assert len(frames(ours, rounds // 200)) == rounds // 200
        nothing_more(ours, 0)
    assert took < 15


def arrived(pair: Pair) -> int:
    """Frames that the host's interface has received."""
    words = pair.host.run(["cat", "/sys/class/net/eth0/statistics/rx_packets"]).stdout
    return int(words)


def test_two_sockets_side_by_side_get_their_own(pair: Pair) -> None:
    one, two = (flow_of(pair, 4, Protocol.UDP, port, 5000) for port in (4000, 4001))
    with (
        udp_socket(pair.peer, pair.peer.ipv4, 5000) as peer,
        wire(pair.host, program=filter_of(one)) as first,
        wire(pair.host, program=filter_of(two)) as second,
        wire(pair.host, program=EVERYTHING) as all_,
    ):
        for port in (4000, 4001, 4001):
            peer.sendto(b"x", (pair.host.ipv4, port))
        assert len(frames(second, 2)) == 2
        assert len(frames(first, 1)) == 1
        assert all_.statistics().received >= 3


def test_a_filter_armed_before_bind_lets_nothing_in_early(pair: Pair) -> None:
    """Open sockets again and again under traffic: none ever holds a frame of others."""
    with udp_socket(pair.peer, pair.peer.ipv4) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        flow = flow_of(pair, 4, Protocol.UDP, 4000, 5000)
        for _ in range(30):
            for _ in range(20):
                peer.sendto(b"x", (pair.host.ipv4, 4999))
            with wire(pair.host, program=filter_of(flow)) as ours:
                for _ in range(20):
                    peer.sendto(b"x", (pair.host.ipv4, 4999))
                assert ours.statistics().received == 0
                nothing_more(ours, 0)
