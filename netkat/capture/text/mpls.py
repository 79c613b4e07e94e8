"""MPLS label stacks (RFC 3032)."""

from __future__ import annotations

from netkat.capture.text.context import PrinterState, Truncated
from netkat.capture.text.raw_ip import raw_ip


def mpls(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    """Print the labels and the IP packet behind them."""
    text, bottom, stop = "MPLS", False, min(end, len(data))
    while not bottom:
        if stop < at + 4:
            return f"{text} [|mpls]"
        entry = int.from_bytes(data[at : at + 4], "big")
        at, bottom = at + 4, bool(entry & 0x100)
        mark = ", [S]" if bottom else ""
        text += f" (label {entry >> 12}, tc {entry >> 9 & 7}{mark}, ttl {entry & 0xFF})"
    separator = "\n\t" if printer.style.verbose else " "
    try:
        return f"{text}{separator}{raw_ip(printer, data, at, end)}"
    except Truncated as cut:
        return f"{text} [|{cut}]"
