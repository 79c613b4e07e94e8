"""Statistics for each flow: packets, bytes, retransmissions, round-trip times."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netkat.capture import linktype as lt
from netkat.capture.text.number_names import ip4_text, ip6_text

if TYPE_CHECKING:
    from netkat.capture.packet import Packet

_FLOWS = 1 << 17
"""Most flows that are counted separately; packets of further flows count as ``other``."""

_IP4 = struct.Struct("!BxHxxHxB2x4s4s")
_IP6 = struct.Struct("!IHBx16s16s")
_TCP = struct.Struct("!HHIIBB")
_LINK = {
    lt.ETHERNET: 14,
    lt.LINUX_SLL: 16,
    lt.RAW: 0,
    lt.IPV4: 0,
    lt.IPV6: 0,
    lt.NULL: 4,
    lt.LOOP: 4,
    lt.LINUX_SLL2: 20,
}
_NAMES = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 58: "icmp6", 132: "sctp", 47: "gre"}


@dataclass(slots=True)
class Segment:
    """The fields of a packet that the statistics use."""

    protocol: int
    source: str
    source_port: int
    target: str
    target_port: int
    sequence: int = 0
    acknowledgment: int = 0
    flags: int = 0
    payload: int = 0


@dataclass(slots=True)
class Side:
    """One direction of a flow."""

    packets: int = 0
    bytes: int = 0
    retransmits: int = 0
    highest: int | None = None
    """Sequence number after the highest byte seen."""
    waiting: tuple[int, int] | None = None
    """Sequence number whose acknowledgment is timed, and the time of its segment."""
    rtt_sum: int = 0
    rtt_count: int = 0
    rtt_least: int = 0

    def time(self, nanoseconds: int) -> None:
        """Record one round-trip time."""
        self.rtt_least = min(self.rtt_least or nanoseconds, nanoseconds)
        self.rtt_sum += nanoseconds
        self.rtt_count += 1


@dataclass(slots=True)
class FlowRecord:
    """A flow. ``source`` is the sender of its first packet."""

    protocol: str
    source: str
    source_port: int
    target: str
    target_port: int
    first_ns: int
    last_ns: int = 0
    forth: Side = field(default_factory=Side)
    back: Side = field(default_factory=Side)

    @property
    def packets(self) -> int:
        """Packets in both directions."""
        return self.forth.packets + self.back.packets

    @property
    def bytes(self) -> int:
        """Bytes on the wire in both directions."""
        return self.forth.bytes + self.back.bytes

    @property
    def retransmits(self) -> int:
        """TCP segments with bytes that were seen before, in both directions."""
        return self.forth.retransmits + self.back.retransmits

    @property
    def rtt_ns(self) -> int | None:
        """Mean time from a segment to its acknowledgment in nanoseconds, or None."""
        count = self.forth.rtt_count + self.back.rtt_count
        # Each direction is timed at this host; the sum is the round trip from end to end.
        halves = [
            side.rtt_sum / side.rtt_count for side in (self.forth, self.back) if side.rtt_count
        ]
        return round(sum(halves)) if count else None

    def __str__(self) -> str:
        left = f"{self.source}.{self.source_port}" if self.source_port else self.source
        right = f"{self.target}.{self.target_port}" if self.target_port else self.target
        return f"{self.protocol} {left} > {right}"


class FlowStatistics:
    """Counts packets for each flow."""

    def __init__(self) -> None:
        self.flows: dict[tuple[object, ...], FlowRecord] = {}
        self.packets = self.bytes = self.other = 0

    def add(self, packet: Packet) -> None:
        """Count a packet."""
        self.packets += 1
        self.bytes += packet.length
        try:
            segment = parse_segment(packet)
        except (struct.error, IndexError):
            segment = None
        if segment is None:
            self.other += 1
            return
        left, right = (segment.source, segment.source_port), (segment.target, segment.target_port)
        key = (segment.protocol, *min((left, right), (right, left)))
        flow = self.flows.get(key)
        if flow is None:
            if len(self.flows) >= _FLOWS:
                self.other += 1
                return
            flow = self.flows[key] = FlowRecord(
                _NAMES.get(segment.protocol, f"ip-proto-{segment.protocol}"),
                *left,
                *right,
                first_ns=packet.time_ns,
            )
        flow.last_ns = packet.time_ns
        forth = (flow.source, flow.source_port) == left
        side, other = (flow.forth, flow.back) if forth else (flow.back, flow.forth)
        side.packets += 1
        side.bytes += packet.length
        if segment.protocol == 6:
            _tcp(side, other, segment, packet.time_ns)

    def top(self, count: int | None = None) -> list[FlowRecord]:
        """Return the flows with the most bytes."""
        return sorted(self.flows.values(), key=lambda flow: -flow.bytes)[:count]


def _tcp(side: Side, other: Side, segment: Segment, now: int) -> None:
    length = segment.payload + bool(segment.flags & 2) + bool(segment.flags & 1)
    end = (segment.sequence + length) & 0xFFFFFFFF
    if length:
        if side.highest is None or (segment.flags & 2 and _behind(side.highest, end)):
            side.highest = end
            side.waiting = (end, now)
        elif not _behind(side.highest, end):
            # One byte below the highest is a keepalive; everything else is a retransmission.
            if not (segment.payload == 1 and end == side.highest):
                side.retransmits += 1
                # An acknowledgment may now be for either copy (Karn's algorithm).
                side.waiting = None
        else:
            side.highest = end
            if side.waiting is None:
                side.waiting = (end, now)
    if segment.flags & 16 and other.waiting is not None:
        wanted, sent = other.waiting
        if not _behind(segment.acknowledgment, wanted):
            other.waiting = None
            other.time(max(now - sent, 0))


def _behind(number: int, other: int) -> bool:
    """Return whether ``number`` is before ``other`` in sequence space."""
    return 0 < (other - number) & 0xFFFFFFFF < 0x80000000


def parse_segment(packet: Packet) -> Segment | None:
    """Return the outermost IP packet's fields, or None. Errors: struct.error, IndexError."""
    at = _LINK.get(packet.linktype)
    raw = packet.raw
    if at is None or len(raw) <= at:
        return None
    if packet.linktype in (lt.ETHERNET, lt.LINUX_SLL, lt.LINUX_SLL2):
        place = 0 if packet.linktype == lt.LINUX_SLL2 else at - 2
        kind = raw[place] << 8 | raw[place + 1]
        while kind in (0x8100, 0x88A8):
            kind = raw[at + 2] << 8 | raw[at + 3]
            at += 4
        if kind not in (0x0800, 0x86DD):
            return None
    if raw[at] >> 4 == 4:
        first, length, place, number, source, target = _IP4.unpack_from(raw, at)
        segment = Segment(number, ip4_text(source), 0, ip4_text(target), 0)
        end = at + (length or packet.length - at)
        at += (first & 15) * 4
        if place & 0x1FFF:
            return segment
    elif raw[at] >> 4 == 6:
        _, length, number, source, target = _IP6.unpack_from(raw, at)
        segment = Segment(number, ip6_text(source), 0, ip6_text(target), 0)
        at += 40
        end = at + (length or packet.length - at)
    else:
        return None
    if number == 6:
        (
            segment.source_port,
            segment.target_port,
            segment.sequence,
            segment.acknowledgment,
            offset,
            segment.flags,
        ) = _TCP.unpack_from(raw, at)
        segment.payload = max(end - at - (offset >> 4) * 4, 0)
    elif number in (17, 132):
        segment.source_port, segment.target_port = struct.unpack_from("!HH", raw, at)
    return segment
