"""IEEE 802.2 LLC, the payload of 802.3 frames: named by its service access points."""

from __future__ import annotations

from netkat.capture.text.context import PrinterState
from netkat.capture.text.hex_dump import undecoded

MAX_LENGTH = 1500
"""An EtherType field up to this value is a length (IEEE 802.3, 3.2.6)."""

_SPANNING_TREE = (0x42, 0x42)


def llc(printer: PrinterState, data: bytes, at: int, end: int, length: int) -> str:
    """Print the LLC header; ``length`` is the 802.3 length field."""
    if min(end, len(data)) < at + 3:
        return " [|llc]"
    target, source, control = data[at : at + 3]
    if (target, source) == _SPANNING_TREE:
        return "STP" if printer.style.link else f"STP, length {length - 3}"
    points = f"dsap 0x{target:02x}, ssap 0x{source:02x}, ctrl 0x{control:02x}"
    return f"LLC, {points}: length {length}" + undecoded(printer.style, data, at + 3, end)
