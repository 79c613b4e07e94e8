"""SCTP (RFC 9260): ports and length."""

from __future__ import annotations

import struct

from netkat.capture.text.context import Addresses, PrinterState, Truncated


def sctp(printer: PrinterState, data: bytes, at: int, end: int, addresses: Addresses) -> str:
    """Print the common header."""
    if min(end, len(data)) < at + 12:
        raise Truncated("sctp")
    source, target = struct.unpack_from("!HH", data, at)
    return f"sctp {source} > {target}, length {end - at}"
