"""VXLAN (RFC 7348)."""

from __future__ import annotations

from netkat.capture.text.context import PrinterState, Truncated
from netkat.capture.text.ethernet import ethernet


def vxlan(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    """Print the header, and the inner frame on the next line."""
    if min(end, len(data)) < at + 8:
        raise Truncated("vxlan")
    flags, vni = data[at], int.from_bytes(data[at + 4 : at + 7], "big")
    valid = "I" if flags & 8 else "."
    text = f"VXLAN, flags [{valid}] (0x{flags:02x}), vni {vni}\n"
    try:
        return text + ethernet(printer, data, at + 8, end)
    except Truncated as cut:
        return f"{text} [|{cut}]"
