"""IGMP (RFC 1112, 2236, 3376)."""

from __future__ import annotations

from netkat.capture.text.context import Addresses, PrinterState, Truncated
from netkat.capture.text.number_names import ip4_text

_DEFAULT_WAIT = 100
"""Tenths of a second: the default response time (RFC 2236) is not printed."""


def igmp(printer: PrinterState, data: bytes, at: int, end: int, addresses: Addresses) -> str:
    """Print a query, report or leave message."""
    stop = min(end, len(data))
    if stop < at + 8:
        raise Truncated("igmp")
    kind, wait, group = data[at], data[at + 1], ip4_text(data[at + 4 : at + 8])
    if kind == 0x11:
        version = "v3" if end - at >= 12 else "v2" if wait else "v1"
        shows_wait = version == "v2" and wait != _DEFAULT_WAIT
        limit = f" [max resp time {wait}]" if shows_wait else ""
        asked = f" [gaddr {group}]" if group != "0.0.0.0" else ""
        return f"igmp query {version}{limit}{asked}"
    if kind in (0x12, 0x16):
        return f"igmp v{1 if kind == 0x12 else 2} report {group}"
    if kind == 0x17:
        return f"igmp leave {group}"
    if kind == 0x22:
        count = int.from_bytes(data[at + 6 : at + 8], "big")
        return f"igmp v3 report, {count} group record(s)"
    return f"igmp-{kind}"
