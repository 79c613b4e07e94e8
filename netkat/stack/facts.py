"""What the stack reports: plain frozen values, copied from gostack.h's structs."""

from __future__ import annotations

import enum
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, NamedTuple

from netkat.flow import IPAddress

if TYPE_CHECKING:
    from netkat.stack.ffi import CData


class State(enum.IntEnum):
    """TCP states (RFC 9293), by gVisor's numbers (tcp.EndpointState)."""

    NONE = 0
    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECEIVED = 3
    FIN_WAIT_1 = 4
    FIN_WAIT_2 = 5
    TIME_WAIT = 6
    CLOSED = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11
    INITIAL = 12
    BOUND = 13
    CONNECTING = 14
    ERROR = 15


OVER = frozenset({State.TIME_WAIT, State.CLOSED, State.ERROR})
"""States in which the peer counts on nothing any more."""


class Info(NamedTuple):
    """One connection at one moment. Times are in microseconds, ``cwnd`` in segments.

    ``mss`` is bytes of payload a segment; ``unacked`` bytes that were written
    and that the peer has not acknowledged, ``unread`` bytes that wait to be read.

    >>> with netkat.create_connection(("10.111.111.129", 80), timeout=2) as conn:
    ...     info = conn.info()
    >>> info.state.name, info.retransmits, info.unread
    ('ESTABLISHED', 0, 0)
    """

    state: State
    rtt: int
    rtt_var: int
    rto: int
    cwnd: int
    mss: int
    retransmits: int
    unacked: int
    unread: int
    handshake: int
    """From our last SYN, or SYN-ACK, to its acknowledgement; 0 where it was not seen."""
    fin_acked: bool
    fin_received: bool
    peer_ttl: int
    """Of the peer's last packet, or its hop limit; 0 before one came."""
    leaving: bool
    """UDP: packets of this stack may wait for a next hop's MAC, or for the wire."""


class HopState(enum.IntEnum):
    """States of a next hop (RFC 4861, 7.3.2), by gostack.h's GS_HOP_ numbers."""

    UNKNOWN = 0
    INCOMPLETE = 1
    REACHABLE = 2
    STALE = 3
    DELAY = 4
    PROBE = 5
    STATIC = 6
    """Its MAC was given: it is never asked for."""
    FAILED = 7


class Observation(NamedTuple):
    """What the wire showed of one flow. ``icmp_*`` are of the last ICMP error that quotes it.

    ``neighbor_*`` count requests for the flow's next hop, and answers, since the flow uses it.
    """

    syns_sent: int = 0
    frames_received: int = 0
    resets: int = 0
    reset_ttl: int = 0
    icmp_errors: int = 0
    icmp_type: int = 0
    icmp_code: int = 0
    icmp_version: int = 0
    icmp_ttl: int = 0
    icmp_sender: IPAddress | None = None
    icmp_mtu: int = 0
    hairpins: int = 0
    hairpin_ttl: int = 0
    hairpin_mac: bytes = b""
    neighbor_requests: int = 0
    neighbor_replies: int = 0
    far_frames: int = 0
    far_ttl: int = 0
    next_hop: IPAddress | None = None
    next_hop_mac: bytes | None = None
    """What the flow's last frame was sent to; None before one left, or without Ethernet."""
    hop_state: HopState = HopState.UNKNOWN


class StackStatistics(NamedTuple):
    """Counters of one stack; bytes are of frames, without virtio-net headers."""

    frames_in: int
    frames_out: int
    bytes_in: int
    bytes_out: int
    queue_full: int
    malformed: int
    no_next_hop: int
    """Packets dropped because there was no route, or the next hop did not answer."""
    retransmits: int
    fast_retransmits: int
    timeouts: int
    checksum_errors: int
    endpoints: int
    queued: int


def read_info(out: CData) -> Info:
    """A gs_info."""
    return Info(
        state=State(out.state),
        rtt=out.rtt_us,
        rtt_var=out.rtt_var_us,
        rto=out.rto_us,
        cwnd=out.cwnd,
        mss=out.mss,
        retransmits=out.retransmits,
        unacked=out.unacked,
        unread=out.unread,
        handshake=out.handshake_us,
        fin_acked=bool(out.fin_acked),
        fin_received=bool(out.fin_received),
        peer_ttl=out.peer_ttl,
        leaving=bool(out.leaving),
    )


def read_observation(out: CData) -> Observation:
    """A gs_observation."""
    sender = address(out.icmp_version, bytes(out.icmp_sender)) if out.icmp_version else None
    hop = address(out.next_hop_version, bytes(out.next_hop)) if out.next_hop_version else None
    other = {"icmp_sender", "hairpin_mac", "next_hop", "next_hop_mac", "hop_state"}
    numbers = {name: int(getattr(out, name)) for name in set(Observation._fields) - other}
    return Observation(
        **numbers,
        icmp_sender=sender,
        hairpin_mac=bytes(out.hairpin_mac),
        next_hop=hop,
        next_hop_mac=bytes(out.next_hop_mac) if out.has_next_hop_mac else None,
        hop_state=HopState(out.hop_state),
    )


def read_statistics(out: CData) -> StackStatistics:
    """A gs_statistics."""
    return StackStatistics(**{name: int(getattr(out, name)) for name in StackStatistics._fields})


def address(version: int, raw: bytes) -> IPAddress:
    """An address of gostack.h: 16 bytes, IPv4 in the first four."""
    return IPv4Address(raw[:4]) if version == 4 else IPv6Address(raw)


def packed(value: IPAddress) -> bytes:
    """An address as gostack.h wants it: 16 bytes."""
    return value.packed.ljust(16, b"\0")
