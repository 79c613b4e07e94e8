"""Geneve (RFC 8926)."""

from __future__ import annotations

import struct

from netkat.capture.text.context import PrinterState, Truncated
from netkat.capture.text.gre import tunnelled
from netkat.capture.text.number_names import ethertype


def geneve(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    """Print the header, and the inner frame or packet."""
    stop = min(end, len(data))
    if stop < at + 8:
        raise Truncated("geneve")
    first, bits, kind = struct.unpack_from("!BBH", data, at)
    vni, options = int.from_bytes(data[at + 4 : at + 7], "big"), (first & 0x3F) * 4
    letters = "".join(letter for bit, letter in ((0x80, "O"), (0x40, "C")) if bits & bit)
    text = f"Geneve, Flags [{letters or 'none'}], vni 0x{vni:x}"
    if printer.style.link:
        text += f", proto {ethertype(kind)} (0x{kind:04x})"
    if options:
        text += f", options [{options} bytes]"
    at += 8 + options
    if stop < at:
        return f"{text} [|geneve]"
    separator = "\n\t" if printer.style.verbose else ": "
    return f"{text}{separator}{tunnelled(printer, data, at, end, kind)}"
