"""The eBPF and the classic socket filter accept the same packets: those that the oracle wants.

Both filters are attached to packet sockets of one interface, and see the same frames.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netkat.bpf.filters.cbpf import Instruction
from netkat.bpf.filters.classic_filter import BLOCK_ALL, classic_filter
from netkat.bpf.filters.ebpf_filter import EbpfFilter
from netkat.bpf.filters.flow_key import fragments_key, key_of, next_hop_key
from netkat.bpf.filters.flow_map import FlowMap
from netkat.flow import Flow, IPAddress, Protocol
from netkat.wire import if_packet
from tests.helpers.filter_oracle import Arrival, answer
from tests.helpers.filter_strategies import ADDRESSES, arrivals, flow_tables
from tests.helpers.guard_lab import Tun, one_cpu, packet_socket
from tests.helpers.netns import Pair, namespace
from tests.helpers.packets import ethernet
from tests.helpers.sniff_corpus import packets as corpus

Flows = Mapping[Flow, IPAddress | None]

MARKER = Flow(Protocol.UDP, ip_address("10.7.7.1"), 7, ip_address("10.7.7.2"), 7)
"""Its datagram ends what was sent: both filters accept it."""
BROADCAST, OTHER = bytes(b"\xff" * 6), bytes.fromhex("02000000aa01")
HOST, IS_BROADCAST, IS_OTHER, OUTGOING = 0, 1, 3, 4
"""PACKET_*: what the destination's MAC makes of a frame."""
ON_LINE = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Filters:
    """Two packet sockets on an interface, one for each filter; flows are added and removed."""

    def __init__(self, interface: str, *, ethernet: bool) -> None:
        self.ethernet = ethernet
        self.flows = FlowMap()
        self.filter = EbpfFilter(self.flows, ethernet=ethernet)
        self._ebpf, self._classic = packet_socket(interface), packet_socket(interface)
        self._ebpf.setsockopt(socket.SOL_SOCKET, if_packet.SO_ATTACH_BPF, self.filter.fd)
        self._attach(BLOCK_ALL)
        for tap in self._ebpf, self._classic:
            drain(tap)
            tap.settimeout(10)

    @contextmanager
    def knowing(self, flows: Flows) -> Iterator[None]:
        known = {**flows, MARKER: None}
        self._attach(classic_filter(known, ethernet=self.ethernet))
        for flow, hop in known.items():
            self.flows.add(key_of(flow), flow)
            self.filter.add(flow, hop)
        try:
            yield
        finally:
            for flow, hop in known.items():
                self.filter.remove(flow, hop)
                self.flows.remove(key_of(flow), flow)

    def received(self, end: bytes) -> list[bytes]:
        """What both accepted before this frame, which has to be the same."""
        ebpf, classic = (accepted_until(end, tap) for tap in (self._ebpf, self._classic))
        assert ebpf == classic
        return ebpf

    def close(self) -> None:
        self._ebpf.close()
        self._classic.close()
        self.filter.close()
        self.flows.close()

    def _attach(self, program: Sequence[Instruction]) -> None:
        value, alive = if_packet.sock_fprog(program)
        self._classic.setsockopt(socket.SOL_SOCKET, if_packet.SO_ATTACH_FILTER, value)
        del alive


def accepted_until(end: bytes, tap: socket.socket) -> list[bytes]:
    seen = []
    while (frame := tap.recv(1 << 16)) != end:
        seen.append(frame)
    return seen


def drain(tap: socket.socket) -> None:
    """Discard what came before the filter."""
    tap.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            tap.recv(1 << 16)


@pytest.fixture
def filters(pair: Pair) -> Iterator[Filters]:
    made = pair.host.call(lambda: Filters(pair.host.interface, ethernet=True))
    yield made
    made.close()


@pytest.fixture
def wire(pair: Pair) -> Iterator[socket.socket]:
    """The other end, to send by."""
    with pair.peer.call(lambda: packet_socket(pair.peer.interface)) as made:
        yield made


@pytest.fixture
def tun() -> Iterator[tuple[Tun, Filters]]:
    with namespace("nkp") as space:
        made = Tun(space)
        filters = space.call(lambda: Filters("tun0", ethernet=False))
        yield made, filters
        filters.close()
        made.close()


def accepted(
    pair: Pair, filters: Filters, wire: socket.socket, flows: Flows, frames: Sequence[bytes]
) -> list[bytes]:
    """Which of the frames both filters accept on the pair's host."""
    end = ethernet(answer(MARKER).packet(), 0x0800, destination=mac_of(pair))
    with filters.knowing(flows):
        with one_cpu():
            for frame in [*frames, end]:
                wire.send(frame)
        return filters.received(end)


def mac_of(pair: Pair) -> bytes:
    return bytes.fromhex(pair.host.mac.replace(":", ""))


@ON_LINE
@given(st.data())
def test_filters_agree_with_the_oracle_on_ethernet(
    pair: Pair, filters: Filters, wire: socket.socket, data: st.DataObject
) -> None:
    flows = data.draw(flow_tables())
    to = {HOST: mac_of(pair), IS_BROADCAST: BROADCAST, IS_OTHER: OTHER}
    sent, expected = [], []
    for version in (4, 6):
        for arrival in data.draw(st.lists(arrivals(version), min_size=1, max_size=20)):
            if arrival.packet_type == OUTGOING or not arrival.header:
                continue
            frame = to[arrival.packet_type] + arrival.frame().data[6:]
            sent.append(tagged(frame, arrival.vlan))
            if arrival.wanted(flows):
                expected.append(frame)
    assert accepted(pair, filters, wire, flows, sent) == expected


@ON_LINE
@given(st.data())
def test_filters_agree_with_the_oracle_without_a_link_header(
    tun: tuple[Tun, Filters], data: st.DataObject
) -> None:
    flows = data.draw(flow_tables())
    (wire, filters), end = tun, answer(MARKER).packet()
    sent, expected = [], []
    # All is drawn before the first is sent: hypothesis may give an example up at any draw.
    for version in (4, 6):
        for drawn in data.draw(st.lists(arrivals(version), min_size=1, max_size=20)):
            arrival = Arrival(drawn.spec, header=False)
            sent.append(arrival.frame())
            if arrival.wanted(flows):
                expected.append(sent[-1].data)
    with filters.knowing(flows):
        with one_cpu():
            for frame in sent:
                wire.write(frame.protocol, frame.data)
            wire.write(0x0800, end)
        assert filters.received(end) == expected


@settings(ON_LINE, max_examples=20)
@given(st.data(), st.integers(0, 1 << 32))
def test_filters_agree_on_damaged_frames(
    pair: Pair, filters: Filters, wire: socket.socket, data: st.DataObject, seed: int
) -> None:
    """Cut short anywhere, and with any byte changed."""
    flows = data.draw(flow_tables())
    frames = []
    for version in (4, 6):
        for arrival in data.draw(st.lists(arrivals(version), min_size=1, max_size=20)):
            if arrival.header:
                frames.append(mac_of(pair) + arrival.frame().data[6:])
    choose = random.Random(seed)
    sent = [damaged(choose.choice(frames), choose) for _ in range(500)] if frames else []
    accepted(pair, filters, wire, flows, sent)


def damaged(frame: bytes, choose: random.Random) -> bytes:
    copy = bytearray(frame)
    for _ in range(choose.choice([0, 1, 1, 2])):
        copy[choose.randrange(12, len(copy))] = choose.choice([0, 1, 4, 0x45, 58, 255])
    return bytes(copy[: choose.randrange(14, len(copy) + 1)])


def test_filters_agree_on_frames_of_every_kind(
    pair: Pair, filters: Filters, wire: socket.socket
) -> None:
    """The capture's corpus, for the flows that occur in it, one half of them at a time."""
    frames = [mac_of(pair) + one.raw[6:1514] for _, one in corpus() if len(one.raw) >= 14]
    flows = dict.fromkeys(flow for frame in frames for flow in flows_in(frame))
    assert len(flows) > 20
    for chosen in (list(flows)[::2], list(flows)[1::2]):
        found = accepted(pair, filters, wire, dict.fromkeys(chosen), frames)
        assert 10 < len(found) < len(frames)


def flows_in(frame: bytes) -> Iterator[Flow]:
    """The flow that receives the frame, where that is plain to see."""
    for kind, length, protocol_at, ports_at in ((0x0800, 4, 23, 34), (0x86DD, 16, 20, 54)):
        source = 26 if kind == 0x0800 else 22
        if int.from_bytes(frame[12:14], "big") != kind or len(frame) < ports_at + 4:
            continue
        if frame[protocol_at] in (6, 17):
            remote, local = (
                ip_address(frame[at : at + length]) for at in (source, source + length)
            )
            remote_port, local_port = struct.unpack_from("!HH", frame, ports_at)
            if local_port and remote_port:
                yield Flow(Protocol(frame[protocol_at]), local, local_port, remote, remote_port)


def test_shared_entries_stay_until_the_last_flow_is_removed(filters: Filters) -> None:
    """Two flows to one peer share the entry of its fragments."""
    local, peer = ADDRESSES[4][:2]
    flows = [Flow(Protocol.TCP, local, port, peer, 80) for port in (1000, 1001)]
    for flow in flows:
        filters.filter.add(flow, peer)
    filters.filter.remove(flows[0], peer)
    assert filters.flows.dropped(fragments_key(flows[1])) == 0
    filters.filter.remove(flows[1], peer)
    assert filters.flows.dropped(fragments_key(flows[1])) is None


def test_updating_the_next_hop_changes_its_entry_alone(filters: Filters) -> None:
    local, peer, before, after = ADDRESSES[4]
    flow = Flow(Protocol.TCP, local, 1000, peer, 80)
    filters.filter.add(flow, before)
    filters.filter.update(flow, before, after)
    assert filters.flows.dropped(next_hop_key(4, before)) is None
    assert filters.flows.dropped(next_hop_key(4, after)) == 0
    assert filters.flows.dropped(fragments_key(flow)) == 0
    filters.filter.remove(flow, after)
    assert filters.flows.dropped(next_hop_key(4, after)) is None


def tagged(frame: bytes, vlan: int | None) -> bytes:
    return frame if vlan is None else frame[:12] + struct.pack("!HH", 0x8100, vlan) + frame[12:]
