"""HTTP/1 request and response heads (RFC 9112)."""

from __future__ import annotations

from netkat.capture.text.context import PrinterState
from netkat.capture.text.escape import escape

_STARTS = (
    b"GET ", b"HEAD ", b"PUT ", b"POST ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ",
    b"TRACE ", b"HTTP/",
)  # fmt: skip
_LINE = 512
"""Most bytes of a request line that are printed."""
_HEAD = 8192
"""Most bytes of a head that are printed."""


def http(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    """Print the first line; with -v the whole head."""
    content, length = data[at : min(end, at + _HEAD)], end - at
    if not content.startswith(_STARTS):
        return ": HTTP"
    if not printer.style.verbose:
        first = content.split(b"\n", 1)[0].rstrip(b"\r")[:_LINE]
        return f": HTTP: {escape(first)}"
    head = content.split(b"\r\n\r\n", 1)[0].split(b"\n")
    lines = "\n\t".join(escape(line.rstrip(b"\r")) for line in head)
    ended = "\n\t" if b"\r\n\r\n" in content else ""
    return f": HTTP, length: {length}\n\t{lines}{ended}"
