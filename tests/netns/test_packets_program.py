"""The wire's filter over the guard's map, in the kernel, against the oracle of tests/helpers."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netkat.bpf.flow_key import KEY, key_of
from netkat.bpf.packets import Packets
from netkat.bpf.sys import HashMap
from netkat.flow import Flow, IPAddress, Protocol
from tests.helpers.filter_oracle import Arp, Arrival, answer
from tests.helpers.guard_lab import Tun, one_cpu, packet_socket
from tests.helpers.netns import Pair, namespace
from tests.helpers.packets import ethernet
from tests.helpers.small_world import ADDRESSES, arrivals, flows_of

SO_ATTACH_BPF = 50
MARKER = Flow(Protocol.UDP, ip_address("10.7.7.1"), 7, ip_address("10.7.7.2"), 7)
"""Its datagram ends what was sent: the filter lets it in."""
BROADCAST, OTHER = bytes(b"\xff" * 6), bytes.fromhex("02000000aa01")
HOST, IS_BROADCAST, IS_OTHER, OUTGOING = 0, 1, 3, 4
"""PACKET_*: what the destination's MAC makes of a frame."""
PEER = 1
"""The kind of entry that later fragments are let in by."""
ON_LINE = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def flows() -> st.SearchStrategy[Flow]:
    """As a guard takes them: with a whole peer, or with none."""
    return (flows_of(4) | flows_of(6)).filter(
        lambda flow: (flow.remote is None) == (flow.remote_port == 0)
    )


class Lab:
    """A packet socket whose filter is the program; flows come and go, the rest stays."""

    def __init__(self, tap: socket.socket, *, ethernet: bool) -> None:
        self._tap = tap
        self._entries = HashMap("netkat_flows", KEY.size, 8, 64)
        self._packets = Packets(self._entries, ethernet=ethernet)
        tap.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, self._packets.fd)
        self._drain()
        tap.settimeout(10)

    def holds(self, kind: int, flow: Flow, peer: IPAddress) -> bool:
        key = KEY.pack(flow.local.packed, peer.packed, 0, 0, flow.protocol, 4, kind)
        return self._entries.lookup(key) is not None

    def add(self, flow: Flow, hop: IPAddress | None = None) -> None:
        self._entries.insert(key_of(flow), bytes(8))
        self._packets.add(flow, hop)

    def remove(self, flow: Flow, hop: IPAddress | None = None) -> None:
        self._packets.remove(flow, hop)
        self._entries.delete(key_of(flow))

    @contextmanager
    def knowing(self, known: Sequence[Flow], hops: Sequence[IPAddress | None]) -> Iterator[None]:
        for flow, hop in zip(known, hops, strict=True):
            self.add(flow, hop)
        self.add(MARKER)
        try:
            yield
        finally:
            self.remove(MARKER)
            for flow, hop in zip(known, hops, strict=True):
                self.remove(flow, hop)

    def received(self, end: bytes) -> list[bytes]:
        seen = []
        while (frame := self._tap.recv(1 << 16)) != end:
            seen.append(frame)
        return seen

    def close(self) -> None:
        self._tap.close()
        self._packets.close()
        self._entries.close()

    def _drain(self) -> None:
        """Throw away what came before the filter."""
        self._tap.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                self._tap.recv(1 << 16)


@pytest.fixture
def lab(pair: Pair) -> Iterator[Lab]:
    made = Lab(pair.host.call(lambda: packet_socket(pair.host.interface)), ethernet=True)
    yield made
    made.close()


@pytest.fixture
def wire(pair: Pair) -> Iterator[socket.socket]:
    """The other end, to send by."""
    with pair.peer.call(lambda: packet_socket(pair.peer.interface)) as made:
        yield made


@pytest.fixture
def tun() -> Iterator[tuple[Tun, Lab]]:
    with namespace("nkp") as space:
        made = Tun(space)
        lab = Lab(space.call(lambda: packet_socket("tun0")), ethernet=False)
        yield made, lab
        lab.close()
        made.close()


def hops_of(known: Sequence[Flow], hops: Sequence[IPAddress | None]) -> list[IPAddress] | None:
    """What the oracle calls next hops, for one version; None: of anybody."""
    if any(flow.any_peer for flow in known):
        return None
    return [hop for hop in hops if hop is not None]


@ON_LINE
@given(st.data())
def test_agrees_with_the_oracle_on_ethernet(
    pair: Pair, lab: Lab, wire: socket.socket, data: st.DataObject
) -> None:
    known = data.draw(st.lists(flows(), min_size=1, max_size=6, unique=True))
    # A flow's next hop is of its own version.
    hops = [data.draw(st.none() | st.sampled_from(ADDRESSES[flow.version])) for flow in known]
    mac = bytes.fromhex(pair.host.mac.replace(":", ""))
    to = {HOST: mac, IS_BROADCAST: BROADCAST, IS_OTHER: OTHER}
    sent, expected = [], []
    for version in (4, 6):
        same = [pair for pair in zip(known, hops, strict=True) if pair[0].version == version]
        ours = [flow for flow, _ in same]
        targets = hops_of(ours, [hop for _, hop in same])
        for arrival in data.draw(st.lists(arrivals(version), min_size=1, max_size=20)):
            if arrival.packet_type == OUTGOING or not arrival.header:
                continue
            frame = to[arrival.packet_type] + arrival.frame().data[6:]
            sent.append(tagged(frame, arrival.vlan))
            if arrival.wanted(ours, targets):
                expected.append(frame)
    end = ethernet(answer(MARKER).packet(), 0x0800, destination=mac)
    with lab.knowing(known, hops):
        with one_cpu():
            for frame in [*sent, end]:
                wire.send(frame)
        assert lab.received(end) == expected


@ON_LINE
@given(st.data())
def test_agrees_with_the_oracle_without_a_header(tun: tuple[Tun, Lab], data: st.DataObject) -> None:
    known = data.draw(st.lists(flows(), min_size=1, max_size=6, unique=True))
    (wire, lab), end = tun, answer(MARKER).packet()
    sent, expected = [], []
    # All is drawn before the first is sent: hypothesis may give an example up at any draw.
    for version in (4, 6):
        same = [flow for flow in known if flow.version == version]
        for drawn in data.draw(st.lists(arrivals(version), min_size=1, max_size=20)):
            arrival = Arrival(drawn.spec, header=False)
            if isinstance(arrival.spec, Arp):
                continue
            sent.append(arrival.frame())
            if arrival.wanted(same, []):
                expected.append(sent[-1].data)
    with lab.knowing(known, [None] * len(known)):
        with one_cpu():
            for frame in sent:
                wire.write(frame.protocol, frame.data)
            wire.write(0x0800, end)
        assert lab.received(end) == expected


def test_what_one_flow_gives_back_another_keeps(lab: Lab) -> None:
    """Two flows to one peer share its entry; the last to go takes it along."""
    first = Flow(Protocol.TCP, ADDRESSES[4][0], 1000, ADDRESSES[4][1], 80)
    second = Flow(Protocol.TCP, ADDRESSES[4][0], 1001, ADDRESSES[4][1], 80)
    lab.add(first)
    lab.add(second)
    lab.remove(first)
    assert lab.holds(PEER, second, ADDRESSES[4][1])
    lab.remove(second)
    assert not lab.holds(PEER, second, ADDRESSES[4][1])


def tagged(frame: bytes, vlan: int | None) -> bytes:
    return frame if vlan is None else frame[:12] + struct.pack("!HH", 0x8100, vlan) + frame[12:]
