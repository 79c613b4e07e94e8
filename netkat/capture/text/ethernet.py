"""Ethernet II with VLAN tags, and IEEE 802.3."""

from __future__ import annotations

import struct

from netkat.capture.text.context import PrinterState, Truncated
from netkat.capture.text.dispatch import network
from netkat.capture.text.hex_dump import undecoded
from netkat.capture.text.llc import MAX_LENGTH, llc
from netkat.capture.text.number_names import ethertype, mac_text

VLAN_TYPES = (0x8100, 0x88A8, 0x9100, 0x9200)
_TYPE = struct.Struct("!H")
_TAG = struct.Struct("!HH")


def ethernet(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    """Print a frame, also one inside a tunnel."""
    stop = min(end, len(data))
    if stop < at + 14:
        raise Truncated("ether")
    printer.enter()
    (kind,) = _TYPE.unpack_from(data, at + 12)
    header = f"{mac_text(data[at + 6 : at + 12])} > {mac_text(data[at : at + 6])}, "
    shown, untagged = "", kind <= MAX_LENGTH
    if printer.style.link and untagged:
        shown = f"{header}802.3, length {kind}: "
    elif printer.style.link:
        shown = f"{header}{_named(kind)}, length {end - at}: "
    body = at + 14
    while kind in VLAN_TYPES:
        if stop < body + 4:
            return f"{shown} [|vlan]"
        if printer.style.link:
            shown += vlan(data, body)
        _, kind = _TAG.unpack_from(data, body)
        body += 4
    if kind <= MAX_LENGTH:
        return shown + llc(printer, data, body, min(end, body + kind), kind)
    text = network(printer, kind, data, body, end)
    if text is not None:
        return shown + text
    if not shown:
        shown = f"{header}{_named(kind)}, length {end - at}: "
    return shown + undecoded(printer.style, data, body, end)


def vlan(data: bytes, at: int) -> str:
    """Return a tag as -e prints it: the VLAN's number, priority, and the type that follows."""
    tag, kind = _TAG.unpack_from(data, at)
    drop = ", DEI" if tag & 0x1000 else ""
    following = f"{_named(kind)}, " if kind > MAX_LENGTH else ""
    return f"vlan {tag & 0xFFF}, p {tag >> 13}{drop}, {following}"


def header_length(data: bytes) -> int:
    """Return the bytes of the Ethernet header with its tags."""
    length = 14
    while len(data) >= length + 4 and _TYPE.unpack_from(data, length - 2)[0] in VLAN_TYPES:
        length += 4
    return length


def _named(kind: int) -> str:
    return f"ethertype {ethertype(kind)} (0x{kind:04x})"
