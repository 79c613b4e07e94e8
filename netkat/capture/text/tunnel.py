"""Tunnels, with what is inside: GRE (RFC 2784, 2890), VXLAN (RFC 7348), Geneve (RFC 8926)."""

from __future__ import annotations

import struct

from netkat.capture.text.number_names import ethertype
from netkat.capture.text.printer import Printer, Truncated

_CHECKSUM, _KEY, _SEQUENCE = 0x8000, 0x2000, 0x1000
_GRE_FLAGS = (
    (0x8000, "checksum present"), (0x4000, "routing present"), (0x2000, "key present"),
    (0x1000, "sequence# present"), (0x0800, "source routing present"),
)  # fmt: skip


def gre(printer: Printer, data: bytes, at: int, end: int) -> str:
    """From the version on, and the packet inside."""
    stop, start, verbose = min(end, len(data)), at, printer.style.verbose
    if stop < at + 4:
        raise Truncated("gre")
    flags, kind = struct.unpack_from("!HH", data, at)
    if flags & 7:
        return f"GREv{flags & 7}, length {end - at}"
    text = "GREv0"
    if verbose:
        names = ", ".join(name for bit, name in _GRE_FLAGS if flags & bit) or "none"
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
    return f"{text}, length {end - start}{separator}{_inner(printer, data, at, end, kind)}"


def vxlan(printer: Printer, data: bytes, at: int, end: int) -> str:
    """Its header, and on the next line the frame inside."""
    if min(end, len(data)) < at + 8:
        raise Truncated("vxlan")
    from netkat.capture.text.link_header import ethernet

    flags, vni = data[at], int.from_bytes(data[at + 4 : at + 7], "big")
    valid = "I" if flags & 8 else "."
    text = f"VXLAN, flags [{valid}] (0x{flags:02x}), vni {vni}\n"
    try:
        return text + ethernet(printer, data, at + 8, end)
    except Truncated as cut:
        return f"{text} [|{cut}]"


def geneve(printer: Printer, data: bytes, at: int, end: int) -> str:
    """Its header, and the frame or packet inside."""
    stop = min(end, len(data))
    if stop < at + 8:
        raise Truncated("geneve")
    first, bits, kind = struct.unpack_from("!BBH", data, at)
    vni, options = int.from_bytes(data[at + 4 : at + 7], "big"), (first & 0x3F) * 4
    letters = "".join(letter for bit, letter in ((0x80, "O"), (0x40, "C")) if bits & bit)
    text = f"Geneve, Flags [{letters or 'none'}], vni 0x{vni:x}"
    if printer.style.link:
        text += f", proto {ethertype(kind)} (0x{kind:04x})"
    if options:
        text += f", options [{options} bytes]"
    at += 8 + options
    if stop < at:
        return f"{text} [|geneve]"
    separator = "\n\t" if printer.style.verbose else ": "
    return f"{text}{separator}{_inner(printer, data, at, end, kind)}"


def _inner(printer: Printer, data: bytes, at: int, end: int, kind: int) -> str:
    from netkat.capture.text.link_header import network

    printer.enter()
    try:
        text = network(printer, data, at, end, kind)
    except Truncated as cut:
        return f" [|{cut}]"
    return f"gre-proto-0x{kind:x}" if text is None else text
