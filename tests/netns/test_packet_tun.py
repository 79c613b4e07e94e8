"""The packet socket on a link without header: a real tun device, read at its other end."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from ipaddress import ip_address

import pytest

from netkat.bpf.filters.classic_filter import BLOCK_ALL, classic_filter
from netkat.bpf.filters.ebpf_filter import EbpfFilter
from netkat.bpf.filters.flow_key import key_of
from netkat.bpf.filters.flow_map import FlowMap
from netkat.flow import Flow, Protocol
from netkat.wire.packet_socket import PacketSocket
from netkat.wire.vnet_hdr import Flags, GsoType, VnetHeader
from tests.helpers import packets
from tests.helpers.netns import Namespace, namespace
from tests.helpers.packets import ICMP, ICMPV6, TCP, UDP, checksum, ip, tcp, udp
from tests.helpers.wires import frames, nothing_more, send, wire

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
OURS = {4: "10.98.0.1", 6: "fd98::1"}
PEER = {4: "192.0.2.7", 6: "2001:db8::7"}
HEADER = {4: 20, 6: 40}
BOTH = pytest.mark.parametrize("version", [4, 6])


@contextmanager
def tun(space: Namespace) -> Iterator[int]:
    """A tun device with our addresses; its other end as a descriptor."""

    def opened() -> int:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", b"tun0", IFF_TUN | IFF_NO_PI))
        return descriptor

    descriptor = space.call(opened)
    try:
        # No router solicitations of the kernel's own between what the tests send.
        space.sysctl("net.ipv6.conf.tun0.addr_gen_mode", 1)
        space.ip(
            f"addr add {OURS[4]}/24 dev tun0",
            f"addr add {OURS[6]}/64 dev tun0 nodad",
            "link set tun0 up",
        )
        yield descriptor
    finally:
        os.close(descriptor)


@pytest.fixture
def space() -> Iterator[Namespace]:
    with namespace("nkw", "tun") as made:
        yield made


def read(descriptor: int, count: int) -> list[bytes]:
    """Packets of ours that leave by the device."""
    found: list[bytes] = []
    while len(found) < count:
        assert select.select([descriptor], [], [], 5)[0], f"{len(found)} packets, and no more"
        try:
            found.append(os.read(descriptor, 65536))
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
    return found


def flow(version: int, protocol: Protocol = Protocol.UDP) -> Flow:
    return Flow(protocol, ip_address(OURS[version]), 4000, ip_address(PEER[version]), 5000)


def open_wire(space: Namespace, *flows: Flow) -> AbstractContextManager[PacketSocket]:
    program = classic_filter(dict.fromkeys(flows), ethernet=False)
    return wire(space, "tun0", program, ethernet=False)


@contextmanager
def ebpf_filter(known: Flow) -> Iterator[EbpfFilter]:
    """For links with an Ethernet header."""
    flows = FlowMap()
    made = EbpfFilter(flows, ethernet=True)
    flows.add(key_of(known), known)
    made.add(known, None)
    yield made
    made.close()
    flows.close()


@BOTH
def test_packets_leave_as_they_are(space: Namespace, version: int) -> None:
    """The kernel finds out the protocol by itself: the socket is bound to all of them."""
    sent = [
        ip(OURS[version], PEER[version], UDP, udp(4000, 5000, b"one")),
        ip(OURS[version], PEER[version], TCP, tcp(4000, 5000)),
        ip(OURS[version], PEER[version], UDP, udp(4000, 5000, bytes(1000))),
    ]
    with tun(space) as other, open_wire(space, flow(version)) as ours:
        send(ours, sent)
        assert read(other, 3) == sent
        assert ours.statistics().refused == {}


def test_both_versions_in_one_batch(space: Namespace) -> None:
    sent = [
        ip(OURS[v], PEER[v], UDP, udp(4000, 5000, bytes([n])))
        for n in range(10)
        for v in ((4, 6) if n % 2 else (6, 4))
    ]
    with tun(space) as other, open_wire(space, flow(4), flow(6)) as ours:
        send(ours, sent)
        assert read(other, 20) == sent


@BOTH
def test_a_super_frame_leaves_as_segments(space: Namespace, version: int) -> None:
    """A TCP super-frame with a partial checksum: cut by the kernel, each segment right."""
    start, payload = HEADER[version], bytes(range(250)) * 14
    gso = {4: GsoType.TCPV4, 6: GsoType.TCPV6}[version]
    header = VnetHeader(Flags.NEEDS_CSUM, gso, start + 20, 1000, start, 16)
    whole = ip(OURS[version], PEER[version], TCP, tcp(4000, 5000, payload, seq=7, flags=0x18))
    partial = whole[: start + 16] + pseudo_sum(whole, version) + whole[start + 18 :]
    with tun(space) as other, open_wire(space, flow(version, Protocol.TCP)) as ours:
        send(ours, [(header, partial)])
        segments = read(other, 4)
        assert ours.statistics().refused == {}
    assert [len(segment) - start - 20 for segment in segments] == [1000, 1000, 1000, 500]
    assert b"".join(segment[start + 20 :] for segment in segments) == payload
    for number, segment in enumerate(segments):
        assert int.from_bytes(segment[start + 4 : start + 8], "big") == 7 + 1000 * number
        body = segment[start:]
        assert checksum(pseudo_header(segment, len(body), version) + body) == 0
        if version == 4:
            assert checksum(segment[:20]) == 0
            assert int.from_bytes(segment[2:4], "big") == len(segment)


def pseudo_header(packet: bytes, length: int, version: int) -> bytes:
    addresses = packet[12:20] if version == 4 else packet[8:40]
    return addresses + struct.pack(">IHBB", length, 0, 0, TCP)


def pseudo_sum(packet: bytes, version: int) -> bytes:
    length = len(packet) - HEADER[version]
    return (0xFFFF ^ checksum(pseudo_header(packet, length, version))).to_bytes(2, "big")


@BOTH
def test_the_filter_on_a_bare_link(space: Namespace, version: int) -> None:
    mine, router = flow(version), {4: "198.51.100.1", 6: "2001:db8:1::1"}[version]
    wanted = ip(PEER[version], OURS[version], UDP, udp(5000, 4000, b"answer"))
    quoted = ip(OURS[version], PEER[version], UDP, udp(4000, 5000, b"question"))
    other_quoted = ip(OURS[version], PEER[version], UDP, udp(4001, 5000, b"question"))
    kind, protocol = (11, ICMP) if version == 4 else (3, ICMPV6)
    error = ip(router, OURS[version], protocol, packets.icmp(kind, 0, quoted))
    other_error = ip(router, OURS[version], protocol, packets.icmp(kind, 0, other_quoted))
    foreign = [
        ip(PEER[version], OURS[version], UDP, udp(5000, 4001)),
        ip(PEER[version], OURS[version], TCP, tcp(5000, 4000)),
        ip(router, OURS[version], UDP, udp(5000, 4000)),
        other_error,
    ]
    with tun(space) as other, open_wire(space, mine) as ours:
        for packet in (*foreign, wanted, *foreign, error, quoted):
            os.write(other, packet)
        assert frames(ours, 3) == [wanted, error, quoted]
        nothing_more(ours)
        assert ours.statistics().received == 3


@pytest.mark.parametrize("ebpf", [True, False], ids=["ebpf", "classic"])
def test_headers_in_page_fragments_are_read(space: Namespace, ebpf: bool) -> None:
    """IFF_NAPI_FRAGS leaves all but the Ethernet header in page fragments, as some drivers do."""
    iff_tap, iff_napi, iff_napi_frags = 0x0002, 0x0010, 0x0020
    flags = iff_tap | IFF_NO_PI | iff_napi | iff_napi_frags

    def opened() -> int:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", b"tap0", flags))
        return descriptor

    descriptor = space.call(opened)
    try:
        space.ip("link set tap0 address 02:00:00:00:00:02", "link set tap0 up")
        program = BLOCK_ALL if ebpf else classic_filter({flow(4): None}, ethernet=True)
        with wire(space, "tap0", program) as ours, ebpf_filter(flow(4)) as filter_:
            if ebpf:
                ours.set_program(filter_.fd)
            for port in (4000, 4001):
                packet = ip(PEER[4], OURS[4], UDP, udp(5000, port, bytes(1000)))
                frame = packets.ethernet(packet, packets.IPV4)
                os.writev(descriptor, [frame[:14], frame[14:]])
            (seen,) = frames(ours, 1)
            assert seen == packets.ethernet(
                ip(PEER[4], OURS[4], UDP, udp(5000, 4000, bytes(1000))), packets.IPV4
            )
            nothing_more(ours)
    finally:
        os.close(descriptor)
