"""Every step that attaches something keeps its flows from the kernel, and nothing else."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address

import pytest

from netkat.bpf.guard.select_mode import Guard, attach
from netkat.bpf.guard.tcx import LAST, TcxLink
from netkat.flow import Flow, Protocol
from tests.helpers.guard_lab import (
    LOCAL_PORT,
    NEXT,
    REMOTE_PORT,
    Tun,
    Veth,
    Wire,
    add_filter,
    one_cpu,
    packet_socket,
    state,
    veth,
    witness,
)
from tests.helpers.guard_packets import (
    AH,
    DESTINATION,
    FRAGMENT,
    HOP_BY_HOP,
    PADDING,
    ROUTING,
    TCP,
    UDP,
    datagram,
    ipv4,
    ipv6,
    packet,
    segment,
)
from tests.helpers.netns import Namespace, Pair, netns_pair

STEPS = ("tcx", "clsact", "cbpf")
FOUR = [(protocol, version) for protocol in Protocol for version in (4, 6)]


@pytest.fixture(scope="module")
def ends() -> Iterator[Pair]:
    with netns_pair("nkg", mtu=9000) as made:
        yield made


@pytest.fixture(scope="module")
def ethernet(ends: Pair) -> Iterator[Veth]:
    with veth(ends) as wire:
        yield wire


@pytest.fixture(scope="module")
def tun(ends: Pair) -> Iterator[Tun]:
    wire = Tun(ends.host)
    yield wire
    wire.close()


@pytest.fixture(params=STEPS)
def step(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def guarded(space: Namespace, wire: Wire, step: str, *flows: Flow) -> Iterator[Guard]:
    guard = space.call(lambda: attach(wire.link, step, flows=flows))
    try:
        assert str(guard.mode) == step
        yield guard
    finally:
        guard.close()
    assert state(space, wire.link.index) == (None, [])


def moved(guard: Guard, flow: Flow, by: int) -> bool:
    """The guard kept that many packets of the flow; the classic step only knows none from some."""
    kept = guard.kept(flow)
    if str(guard.mode) == "cbpf":
        return kept == (None if by else 0)
    return kept == by


@pytest.mark.parametrize(("protocol", "version"), FOUR)
def test_the_kernel_is_silent_on_the_flow_alone(
    ends: Pair, ethernet: Veth, step: str, protocol: Protocol, version: int
) -> None:
    flow, other = (ethernet.flow(protocol, version, shift) for shift in (0, 1))
    assert ethernet.answered_ports(packet(flow)) == [flow.local_port]
    with guarded(ends.host, ethernet, step, flow) as guard:
        assert moved(guard, flow, 0)
        assert ethernet.answered_ports(packet(flow), packet(other), packet(flow)) == [
            other.local_port
        ]
        assert moved(guard, flow, 2)
        guard.remove(flow)
        assert ethernet.answered_ports(packet(flow)) == [flow.local_port]
    assert ethernet.answered_ports(packet(flow)) == [flow.local_port]


@pytest.mark.parametrize(("protocol", "version"), FOUR)
def test_on_a_link_without_frames(
    ends: Pair, tun: Tun, step: str, protocol: Protocol, version: int
) -> None:
    flow, other = (tun.flow(protocol, version, shift) for shift in (0, 1))
    assert tun.answered_ports(packet(flow)) == [flow.local_port]
    with guarded(ends.host, tun, step, flow) as guard:
        assert tun.answered_ports(packet(flow), packet(other)) == [other.local_port]
        assert moved(guard, flow, 1)


@pytest.mark.parametrize("version", [4, 6])
def test_each_part_of_the_tuple_counts(ends: Pair, ethernet: Veth, step: str, version: int) -> None:
    flow = ethernet.flow(version=version)
    assert flow.remote is not None
    neighbour = type(flow.remote)(int(flow.remote) + 1)
    ours = ip_address("10.99.0.77" if version == 4 else "fd99::77")
    bits = 24 if version == 4 else 64
    ends.host.ip(
        f"addr add {ours}/{bits} dev eth0 nodad",
        f"neigh replace {neighbour} lladdr {ends.peer.mac} nud permanent dev eth0",
    )
    others = [
        replace(flow, remote=neighbour),
        replace(flow, local=ours),
        replace(flow, remote_port=REMOTE_PORT + 1),
        replace(flow, local_port=LOCAL_PORT + 1),
        replace(flow, protocol=Protocol.UDP),
    ]
    with guarded(ends.host, ethernet, step, flow) as guard:
        ports = ethernet.answered_ports(*map(packet, others))
        assert sorted(ports) == sorted(other.local_port for other in others)
        assert moved(guard, flow, 0)
    ends.host.ip(f"addr del {ours}/{bits} dev eth0")


@pytest.mark.parametrize(("protocol", "version"), FOUR)
def test_a_listener_has_any_peer(
    ends: Pair, ethernet: Veth, step: str, protocol: Protocol, version: int
) -> None:
    peers = [replace(ethernet.flow(protocol, version), remote_port=port) for port in (80, 81, 82)]
    listener = replace(peers[0], remote=None, remote_port=0)
    other = ethernet.flow(protocol, version, 1)
    with guarded(ends.host, ethernet, step, listener, peers[2]) as guard:
        assert ethernet.answered_ports(*map(packet, peers), packet(other)) == [other.local_port]
        # The flow that has an entry of its own is counted there.
        assert moved(guard, listener, 2)
        assert moved(guard, peers[2], 1)


def test_the_tap_still_has_its_copy(ends: Pair, ethernet: Veth, step: str) -> None:
    flow = ethernet.flow()
    tap = ends.host.call(lambda: packet_socket(ends.host.interface))
    tap.settimeout(2)
    with tap, guarded(ends.host, ethernet, step, flow):
        wanted = ethernet.frame(packet(flow))
        assert ethernet.answers(packet(flow)) == []
        while tap.recv(2000) != wanted:
            pass


def test_the_kernels_own_connection_lives_beside_the_flow(
    ends: Pair, ethernet: Veth, step: str
) -> None:
    server = ends.peer.call(lambda: socket.create_server(("", REMOTE_PORT)))
    flow = ethernet.flow()
    with server, guarded(ends.host, ethernet, step, flow):
        mine = ends.host.call(lambda: socket.create_connection((ends.peer.ipv4, REMOTE_PORT), 2))
        with mine, server.accept()[0] as theirs:
            assert ethernet.answered_ports(packet(flow)) == []
            theirs.sendall(b"still here")
            assert mine.recv(100) == b"still here"


@pytest.mark.parametrize("version", [4, 6])
def test_a_tag_of_another_network_is_not_ours(
    ends: Pair, ethernet: Veth, step: str, version: int
) -> None:
    flow = ethernet.flow(version=version)
    with guarded(ends.host, ethernet, step, flow) as guard:
        with one_cpu():
            ethernet.socket.send(ethernet.frame(packet(flow), vlan=100))
            ethernet.socket.send(ethernet.frame(packet(flow), vlan=0x1000 | 4095))
            assert ethernet.answers() == []
        assert moved(guard, flow, 0)
        # Priority alone: id 0 is this network.
        with one_cpu():
            ethernet.socket.send(ethernet.frame(packet(flow), vlan=3 << 13))
            assert ethernet.answers() == []
        assert moved(guard, flow, 1)


def test_ipv4_fragments_and_options(ends: Pair, ethernet: Veth, step: str) -> None:
    flow = ethernet.flow(Protocol.UDP)
    assert flow.remote is not None
    whole = datagram(flow.remote, flow.local, (REMOTE_PORT, LOCAL_PORT), payload=bytes(64))

    def fragment(start: int, end: int, ident: int) -> bytes:
        part = (start, end < len(whole))
        return ipv4(flow.remote, flow.local, UDP, whole[start:end], fragment=part, ident=ident)  # type: ignore[arg-type]

    options = bytes([1] * 39 + [0])
    with guarded(ends.host, ethernet, step, flow) as guard:
        # A later fragment is left alone, and without the first the kernel says nothing.
        assert ethernet.answers(fragment(32, 72, 1)) == []
        assert moved(guard, flow, 0)
        assert ethernet.answers(fragment(0, 32, 1)) == []
        assert moved(guard, flow, 1)
        assert ethernet.answers(fragment(0, 32, 2), fragment(32, 72, 2)) == []
        assert moved(guard, flow, 2)
        with_options = ipv4(flow.remote, flow.local, UDP, whole, options=options)
        assert ethernet.answers(with_options) == []
        assert moved(guard, flow, 3)
    reassembled = ethernet.answered_ports(fragment(0, 32, 3), fragment(32, 72, 3))
    assert reassembled == [LOCAL_PORT]


def extension_cases() -> dict[str, tuple[list[tuple[int, bytes]], bool]]:
    """By name: extension headers, and whether the packet behind them is ours."""
    pad = PADDING
    return {
        "hop by hop": ([(HOP_BY_HOP, pad)], True),
        "destination options, 16 bytes": (
            [(DESTINATION, b"\1" + bytes([1, 12]) + bytes(12))],
            True,
        ),
        "routing, used up": ([(ROUTING, bytes([0, 0, 0]) + bytes(4))], True),
        "routing, segments left": ([(ROUTING, bytes([2, 4, 1]) + bytes(20))], False),
        "authentication": ([(AH, bytes([4]) + bytes(22))], False),
        "atomic fragment": ([(FRAGMENT, bytes(3) + bytes(4))], True),
        "first fragment": ([(FRAGMENT, bytes([0, 0, 1]) + bytes(3) + b"\1")], True),
        "later fragment": ([(FRAGMENT, bytes([0, 0, 9]) + bytes(3) + b"\1")], False),
        "six": ([(HOP_BY_HOP, pad), *[(DESTINATION, pad)] * 5], True),
        "seven": ([(HOP_BY_HOP, pad), *[(DESTINATION, pad)] * 6], False),
        "unknown": ([(200, pad)], False),
    }


@pytest.mark.parametrize("case", extension_cases())
def test_ipv6_extension_headers(ends: Pair, ethernet: Veth, step: str, case: str) -> None:
    extensions, ours = extension_cases()[case]
    flow = ethernet.flow(version=6)
    assert flow.remote is not None
    data = segment(flow.remote, flow.local, (REMOTE_PORT, LOCAL_PORT), payload=bytes(12))
    with guarded(ends.host, ethernet, step, flow) as guard:
        answers = ethernet.answers(ipv6(flow.remote, flow.local, TCP, data, extensions=extensions))
        assert moved(guard, flow, int(ours))
        assert not ours or not answers


@pytest.mark.parametrize("version", [4, 6])
def test_headers_outside_the_linear_part(
    ends: Pair, ethernet: Veth, step: str, version: int
) -> None:
    """As from a driver that leaves all behind the Ethernet header in page fragments."""
    sender = ends.peer.call(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
    flow = ethernet.flow(version=version)
    vnet_header = struct.pack("=BBHHHH", 0, 0, 14, 0, 0, 0)
    with sender, guarded(ends.host, ethernet, step, flow) as guard:
        packet_vnet_hdr = 15
        sender.setsockopt(263, packet_vnet_hdr, 1)
        sender.bind((ends.peer.interface, 0))
        with one_cpu():
            sender.send(vnet_header + ethernet.frame(packet(flow, payload=bytes(8000))))
            assert ethernet.answers() == []
        assert moved(guard, flow, 1)


@pytest.mark.parametrize("attached", ["tcx", "tc"])
def test_programs_of_others_see_all_that_is_not_ours(
    ends: Pair, ethernet: Veth, attached: str
) -> None:
    flow, other = ethernet.flow(), ethernet.flow(shift=1)
    with witness(NEXT) as theirs:
        behind: Callable[[], object]
        index, program = ethernet.link.index, theirs.program.fd
        if attached == "tcx":
            link = ends.host.call(lambda: TcxLink(program, index, LAST))
            behind, step = link.close, "tcx"
        else:
            ends.host.call(lambda: add_filter(index, program, pref=1))
            behind, step = (
                lambda: ends.host.run(["tc", "qdisc", "del", "dev", "eth0", "clsact"]),
                ("clsact"),
            )
        guard = ends.host.call(lambda: attach(ethernet.link, step, flows=[flow]))
        ethernet.answers(packet(other))
        before = theirs.count
        assert before >= 2
        ethernet.answers(packet(flow), packet(flow))
        assert theirs.count == before + 1, "the marker alone"
        guard.close()
        ethernet.answers(packet(flow))
        assert theirs.count == before + 3
        behind()
