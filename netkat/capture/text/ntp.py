"""NTP (RFC 5905): version and mode."""

from __future__ import annotations

from netkat.capture.text.context import PrinterState, Truncated

_MODES = (
    "unspecified", "symmetric active", "symmetric passive", "Client", "Server", "Broadcast",
    "Control Message", "Reserved",
)  # fmt: skip


def ntp(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    """Print a message."""
    if min(end, len(data)) < at + 1:
        raise Truncated("ntp")
    return f"NTPv{data[at] >> 3 & 7}, {_MODES[data[at] & 7]}, length {end - at}"
