"""A frame of a netkat connection as one line in tcpdump's format, for connect -d."""

from __future__ import annotations

import functools

from netkat.capture import linktype as lt
from netkat.capture.packet import Packet
from netkat.capture.text.context import Style
from netkat.capture.text.printer import Printer

_TAGS = (0x8100, 0x88A8)
_ICMP, _ICMPV6 = 1, 58
_ERRORS = {_ICMP: (3, 4, 11, 12), _ICMPV6: (1, 2, 3, 4)}
_ICMP_HEADER, _IPV6_HEADER = 8, 40


def frame_line(
    frame: bytes, *, ethernet: bool, time: float, outgoing: bool, interface: str | None = None
) -> str:
    """Return the line without a newline. Never raises, for any bytes.

    ``frame`` begins with the Ethernet header if ``ethernet``, else with the IP header; ``time`` is
    seconds since the epoch. With an ``interface``, its name and the direction come first, as with
    tcpdump -i any. TCP sequence numbers are relative to the connection's first line. An ICMP
    error is followed by the packet that it quotes.
    """
    packet = Packet(
        round(time * 1e6) * 1000,
        len(frame),
        frame,
        lt.ETHERNET if ethernet else lt.RAW,
        interface or "",
        "out" if outgoing else "in",
    )
    line = _printer(interface is not None).line(packet)
    # The bytes of undecoded protocols are on further lines.
    line = line.partition("\n")[0]
    quoted = _quoted(frame, _packet_offset(frame) if ethernet else 0)
    if quoted:
        inner = Packet(0, _length(quoted), quoted, lt.RAW)
        line += f" [quotes {_quoting().body(inner)}]".partition("\n")[0]
    return line


@functools.cache
def _printer(interface: bool) -> Printer:
    return Printer(Style(stamp=0, numeric=True, interface=interface))


@functools.cache
def _quoting() -> Printer:
    # A separate printer: a quoted SYN must not reset the sequence numbers of its connection.
    return Printer(Style(numeric=True, absolute=True))


def _packet_offset(frame: bytes) -> int:
    at = 14
    while int.from_bytes(frame[at - 2 : at], "big") in _TAGS:
        at += 4
    return at


def _quoted(frame: bytes, at: int) -> bytes:
    """Return the packet that an ICMP error at ``at`` quotes, or b""."""
    version = frame[at] >> 4 if len(frame) > at else 0
    if version == 4 and len(frame) >= at + 20:
        protocol, icmp = frame[at + 9], at + (frame[at] & 15) * 4
    elif version == 6 and len(frame) >= at + _IPV6_HEADER:
        protocol, icmp = frame[at + 6], at + _IPV6_HEADER
    else:
        return b""
    if len(frame) <= icmp or frame[icmp] not in _ERRORS.get(protocol, ()):
        return b""
    return frame[icmp + _ICMP_HEADER :]


def _length(packet: bytes) -> int:
    """Return the length in the IP header: routers cut quoted packets (RFC 1812, 4.3.2.3)."""
    if packet[0] >> 4 == 4:
        return max(len(packet), int.from_bytes(packet[2:4], "big"))
    return max(len(packet), int.from_bytes(packet[4:6], "big") + _IPV6_HEADER)
