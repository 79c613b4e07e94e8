"""UDP (RFC 768), and what its well-known ports carry."""

from __future__ import annotations

import struct

from netkat.capture.text.checksum import internet, pseudo_header
from netkat.capture.text.context import Addresses, PrinterState
from netkat.capture.text.dispatch import datagram

_HEADER = struct.Struct("!HHHH")


def udp(printer: PrinterState, data: bytes, at: int, end: int, ends: Addresses) -> str:
    """Print a datagram, from the addresses on."""
    stop = min(end, len(data))
    if stop < at + 4:
        shown = f"{ends.source} > {ends.target}: " if ends.shown else ""
        return f"{shown}[|udp]"
    source, target = struct.unpack_from("!HH", data, at)
    left, right = printer.port(source, "udp"), printer.port(target, "udp")
    if ends.shown:
        shown = f"{ends.source}.{left} > {ends.target}.{right}: "
    else:
        shown = f"{left} > {right}: "
    if stop < at + 8:
        return f"{shown} [|udp]"
    _, _, length, checksum = _HEADER.unpack_from(data, at)
    if length < 8 and length:
        return f"{shown}truncated-udplength {length}"
    # A first fragment has the length of the whole datagram and ends earlier.
    finish = min(at + length, end) if length else end
    size = (length or end - at) - 8
    there = end - at - 8
    plain = f"UDP, length {size}"
    if size > there and not ends.fragment:
        plain = f"UDP, bad length {size} > {there}"
    if printer.style.quiet:
        return f"{shown}{plain}"
    summed = ""
    # For IPv4, where the checksum is optional, tcpdump prints it from -vv on.
    wanted = printer.style.verbose > (len(ends.packed) == 8)
    whole = len(data) >= at + length or not checksum
    if wanted and printer.style.checksums and not ends.fragment and whole:
        summed = _sum(data, at, finish, ends, checksum)
    if stop == at + 8 and not size:
        return f"{shown}{summed}UDP, length 0"
    content = datagram(printer, source, target, data, at + 8, finish)
    return f"{shown}{summed}{content or plain}"


def _sum(data: bytes, at: int, end: int, ends: Addresses, checksum: int) -> str:
    if not checksum:
        return "[no cksum] "
    header = pseudo_header(ends.packed, 17, end - at)
    right = internet(header + data[at : at + 6] + b"\0\0" + data[at + 8 : end]) or 0xFFFF
    if right == checksum:
        return "[udp sum ok] "
    return f"[bad udp cksum 0x{checksum:04x} -> 0x{right:04x}!] "
