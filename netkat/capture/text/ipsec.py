"""IPsec headers: ESP (RFC 4303) and AH (RFC 4302)."""

from __future__ import annotations

import struct

from netkat.capture.text.context import Addresses, PrinterState, Truncated
from netkat.capture.text.dispatch import transport


def esp(printer: PrinterState, data: bytes, at: int, end: int, addresses: Addresses) -> str:
    """Print the header; the payload is encrypted."""
    if min(end, len(data)) < at + 8:
        raise Truncated("esp")
    spi, seq = struct.unpack_from("!II", data, at)
    return f"ESP(spi=0x{spi:08x},seq=0x{seq:x}), length {end - at}"


def ah(printer: PrinterState, data: bytes, at: int, end: int, addresses: Addresses) -> str:
    """Print the header and the payload."""
    if min(end, len(data)) < at + 12:
        raise Truncated("ah")
    spi, seq = struct.unpack_from("!II", data, at + 4)
    printer.enter()
    inside = addresses._replace(shown=False)
    rest = transport(printer, data[at], data, at + (data[at + 1] + 2) * 4, end, inside)
    return f"AH(spi=0x{spi:08x},seq=0x{seq:x}): {rest}"
