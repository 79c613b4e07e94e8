"""BOOTP and DHCP (RFC 951, 2131): the message's direction and client."""

from __future__ import annotations

from netkat.capture.text.context import PrinterState, Truncated
from netkat.capture.text.number_names import mac_text

_HEADER = 236


def bootp(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    """Print a request or reply."""
    stop = min(end, len(data))
    if stop < at + 1:
        raise Truncated("bootp")
    kind = {1: "Request", 2: "Reply"}.get(data[at], f"unknown ({data[at]})")
    if stop < at + _HEADER:
        return f"BOOTP/DHCP, {kind} [|bootp]"
    sender = f" from {mac_text(data[at + 28 : at + 34])}" if kind == "Request" else ""
    return f"BOOTP/DHCP, {kind}{sender}, length {end - at}"
