"""GRE (RFC 2784, 2890)."""

from __future__ import annotations

import struct

from netkat.capture.text.context import Addresses, PrinterState, Truncated
from netkat.capture.text.dispatch import network
from netkat.capture.text.number_names import ethertype

_CHECKSUM, _KEY, _SEQUENCE = 0x8000, 0x2000, 0x1000
_FLAGS = (
    (0x8000, "checksum present"), (0x4000, "routing present"), (0x2000, "key present"),
    (0x1000, "sequence# present"), (0x0800, "source routing present"),
)  # fmt: skip


def gre(printer: PrinterState, data: bytes, at: int, end: int, addresses: Addresses) -> str:
    """Print the header and the inner packet."""
    stop, start, verbose = min(end, len(data)), at, printer.style.verbose
    if stop < at + 4:
        raise Truncated("gre")
    flags, kind = struct.unpack_from("!HH", data, at)
    if flags & 7:
        return f"GREv{flags & 7}, length {end - at}"
    text = "GREv0"
    if verbose:
        names = ", ".join(name for bit, name in _FLAGS if flags & bit) or "none"
        text += f", Flags [{names}]"
    at += 4
    for bit in (_CHECKSUM, _KEY, _SEQUENCE):
        if not flags & bit:
            continue
        if stop < at + 4:
            return f"{text} [|gre]"
        (word,) = struct.unpack_from("!I", data, at)
        if bit == _CHECKSUM:
            text += f", sum 0x{word >> 16:x}" if verbose else ""
            text += f", off 0x{word & 0xFFFF:x}"
        elif bit == _KEY:
            text += f", key=0x{word:x}"
        else:
            text += f", seq {word}"
        at += 4
    if printer.style.link:
        text += f", proto {ethertype(kind)} (0x{kind:04x})"
    separator = "\n\t" if verbose else ": "
    return f"{text}, length {end - start}{separator}{tunnelled(printer, data, at, end, kind)}"


def tunnelled(printer: PrinterState, data: bytes, at: int, end: int, kind: int) -> str:
    """Print the inner packet of a tunnel that names its EtherType."""
    try:
        printer.enter()
    except Truncated as cut:
        return f" [|{cut}]"
    text = network(printer, kind, data, at, end)
    return f"gre-proto-0x{kind:x}" if text is None else text
