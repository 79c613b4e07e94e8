"""Protocols with a short line of their own: IGMP, ESP, AH, SCTP, OSPF, VRRP, PIM."""

from __future__ import annotations

import struct
from collections.abc import Callable

from netkat.capture.text.number_names import ip4_text
from netkat.capture.text.printer import Ends, Printer, Truncated


def _igmp(printer: Printer, data: bytes, at: int, end: int, ends: Ends) -> str:
    stop = min(end, len(data))
    if stop < at + 8:
        raise Truncated("igmp")
    kind, group = data[at], ip4_text(data[at + 4 : at + 8])
    if kind == 0x11:
        version = "v3" if end - at >= 12 else "v2" if data[at + 1] else "v1"
        # 10 seconds, the protocol's own (RFC 2236), go without saying.
        wait = f" [max resp time {data[at + 1]}]" if version == "v2" and data[at + 1] != 100 else ""
        asked = f" [gaddr {group}]" if group != "0.0.0.0" else ""
        return f"igmp query {version}{wait}{asked}"
    if kind in (0x12, 0x16):
        return f"igmp v{1 if kind == 0x12 else 2} report {group}"
    if kind == 0x17:
        return f"igmp leave {group}"
    if kind == 0x22:
        count = int.from_bytes(data[at + 6 : at + 8], "big")
        return f"igmp v3 report, {count} group record(s)"
    return f"igmp-{kind}"


def _esp(printer: Printer, data: bytes, at: int, end: int, ends: Ends) -> str:
    if min(end, len(data)) < at + 8:
        raise Truncated("esp")
    spi, seq = struct.unpack_from("!II", data, at)
    return f"ESP(spi=0x{spi:08x},seq=0x{seq:x}), length {end - at}"


def _ah(printer: Printer, data: bytes, at: int, end: int, ends: Ends) -> str:
    from netkat.capture.text.ip_payload import payload

    if min(end, len(data)) < at + 12:
        raise Truncated("ah")
    spi, seq = struct.unpack_from("!II", data, at + 4)
    printer.enter()
    inside = Ends(ends.source, ends.target, ends.packed, shown=False, fragment=ends.fragment)
    rest = payload(printer, data, at + (data[at + 1] + 2) * 4, end, data[at], inside)
    return f"AH(spi=0x{spi:08x},seq=0x{seq:x}): {rest}"


def _sctp(printer: Printer, data: bytes, at: int, end: int, ends: Ends) -> str:
    if min(end, len(data)) < at + 12:
        raise Truncated("sctp")
    source, target = struct.unpack_from("!HH", data, at)
    return f"sctp {source} > {target}, length {end - at}"


def _named(name: str) -> Callable[[Printer, bytes, int, int, Ends], str]:
    def line(printer: Printer, data: bytes, at: int, end: int, ends: Ends) -> str:
        return f"{name}, length {end - at}"

    return line


SMALL: dict[int, Callable[[Printer, bytes, int, int, Ends], str]] = {
    2: _igmp, 50: _esp, 51: _ah, 132: _sctp, 89: _named("OSPF"), 103: _named("PIM"),
    112: _named("VRRP"), 88: _named("EIGRP"), 46: _named("RSVP"),
}  # fmt: skip
"""By IP protocol number."""
