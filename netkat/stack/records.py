"""What the stack tells about itself, a connection, and the wire: copies of gostack.h's structs."""

from __future__ import annotations

import enum
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from netkat.flow import IPAddress
from netkat.stack.ffi import CData


class TcpState(enum.IntEnum):
    """State of a TCP endpoint: Linux's numbers (net/tcp_states.h), then gVisor's own."""

    NONE = 0  # UDP
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


OVER = frozenset({TcpState.TIME_WAIT, TcpState.CLOSED, TcpState.ERROR})
"""States in which nothing that was sent is still wanted by the peer."""


class Info(NamedTuple):
    """Facts of one connection at one moment. UDP has only ``unread``."""

    state: TcpState
    rtt_us: int
    rtt_var_us: int
    rto_us: int
    cwnd: int
    """Congestion window, segments."""
    mss: int
    """Payload bytes a segment."""
    retransmits: int
    """Segments."""
    unacked: int
    """Payload bytes that were written and not yet acknowledged, those still queued included."""
    unread: int
    """Bytes that wait to be read."""
    fin_acked: bool
    fin_received: bool


class Statistics(NamedTuple):
    """Counters of a whole stack since it was made; bytes are of frames."""

    frames_in: int
    frames_out: int
    bytes_in: int
    bytes_out: int
    queue_full: int
    malformed: int
    retransmits: int
    fast_retransmits: int
    timeouts: int
    checksum_errors: int
    endpoints: int
    queued: int


class Observation(NamedTuple):
    """What the wire saw of one flow. Zero and None where nothing was seen."""

    syns_sent: int
    """SYN segments that were sent; for UDP datagrams."""
    frames_received: int
    resets: int
    reset_ttl: int
    icmp_errors: int
    """ICMP errors that quote the flow; the fields below are of the last."""
    icmp_version: int
    icmp_type: int
    icmp_code: int
    icmp_ttl: int
    icmp_mtu: int
    icmp_sender: IPAddress | None
    hairpins: int
    """Our own packets that came back in."""
    hairpin_ttl: int
    hairpin_mac: bytes
    neighbor_requests: int
    """ARP requests and neighbour solicitations of the whole stack."""
    neighbor_replies: int


def info(raw: CData) -> Info:
    """Of a gs_info."""
    values = {name: getattr(raw, name) for name in Info._fields}
    values["state"] = TcpState(raw.state)
    values["fin_acked"], values["fin_received"] = bool(raw.fin_acked), bool(raw.fin_received)
    return Info(**values)


def statistics(raw: CData) -> Statistics:
    """Of a gs_statistics."""
    return Statistics(*(getattr(raw, name) for name in Statistics._fields))


def observation(raw: CData) -> Observation:
    """Of a gs_observation."""
    values = {name: getattr(raw, name) for name in Observation._fields}
    values["icmp_sender"] = address(raw.icmp_version, bytes(raw.icmp_sender))
    values["hairpin_mac"] = bytes(raw.hairpin_mac) if raw.hairpins else b""
    return Observation(**values)


def address(version: int, raw: bytes) -> IPAddress | None:
    """An address of gostack.h: 16 bytes, IPv4 in the first four; None for version 0."""
    if version == 4:
        return IPv4Address(raw[:4])
    return IPv6Address(raw) if version == 6 else None


def packed(value: IPAddress) -> bytes:
    """An address as gostack.h wants it: 16 bytes."""
    return value.packed.ljust(16, b"\0")
