"""IPv6 and its extension headers (RFC 8200)."""

from __future__ import annotations

import functools
import struct

from netkat.capture.text.context import Addresses, PrinterState, Truncated
from netkat.capture.text.dispatch import transport
from netkat.capture.text.number_names import ip6_text, protocol

_HEADER = struct.Struct("!IHBB16s16s")
_FRAGMENT = struct.Struct("!BxHI")
_HOP_BY_HOP, _ROUTING, _FRAGMENTED, _AUTHENTICATION, _OPTIONS = 0, 43, 44, 51, 60
_CHAIN = 16
"""Most extension headers that are followed."""


def ip6(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    """Print a packet; with -e the link header has named the protocol."""
    text = _packet(printer, data, at, end)
    return text if printer.style.link else f"IP6 {text}"


def _packet(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    stop = min(end, len(data))
    if stop < at + 40:
        raise Truncated("ip6")
    first, length, following, hops, source, target = _HEADER.unpack_from(data, at)
    if first >> 28 != 6:
        return f"version error: {first >> 28} != 6"
    finish, missing = at + 40 + length, ""
    if not length:
        finish = end  # a jumbogram (RFC 2675) or a GSO packet over 64 KB (BIG TCP)
    if finish > end:
        missing = f"truncated-ip6 - {finish - end} bytes missing!"
    verbose = ""
    if printer.style.verbose:
        traffic = f"class 0x{first >> 20 & 0xFF:02x}, " if first >> 20 & 0xFF else ""
        flow = f"flowlabel 0x{first & 0xFFFFF:05x}, " if first & 0xFFFFF else ""
        verbose = (
            f"({traffic}{flow}hlim {hops}, next-header {protocol(following)} ({following}) "
            f"payload length: {length}) "
        )
    ends = _ends(source + target)
    return f"{missing}{verbose}{_headers(printer, data, at + 40, finish, following, ends)}"


@functools.lru_cache(maxsize=4096)
def _ends(addresses: bytes) -> Addresses:
    return Addresses(ip6_text(addresses[:16]), ip6_text(addresses[16:]), addresses)


def _headers(
    printer: PrinterState, data: bytes, at: int, end: int, following: int, ends: Addresses
) -> str:
    stop = min(end, len(data))
    shown: list[str] = []
    fragment = False
    for _ in range(_CHAIN):
        if following not in (_HOP_BY_HOP, _ROUTING, _FRAGMENTED, _AUTHENTICATION, _OPTIONS):
            break
        if stop < at + 8:
            shown.append("[|ip6]")
            return f"{ends.source} > {ends.target}: {' '.join(shown)}"
        if following == _FRAGMENTED:
            following, place, ident = _FRAGMENT.unpack_from(data, at)
            at += 8
            offset, fragment = place & 0xFFF8, bool(place & 0xFFF9)
            number = f"0x{ident:08x}:" if printer.style.verbose else ""
            shown.append(f"frag ({number}{offset}|{end - at})")
            if offset:
                return f"{ends.source} > {ends.target}: {' '.join(shown)}"
            continue
        shown.append(_extension(printer, data, at, stop, following))
        units = data[at + 1]
        size = (units + 2) * 4 if following == _AUTHENTICATION else (units + 1) * 8
        following, at = data[at], at + size
    if not shown:
        return transport(printer, following, data, at, end, ends)
    ends = Addresses(ends.source, ends.target, ends.packed, shown=False, fragment=fragment)
    rest = transport(printer, following, data, at, end, ends)
    return f"{ends.source} > {ends.target}: {' '.join(shown)} {rest}"


def _extension(printer: PrinterState, data: bytes, at: int, stop: int, kind: int) -> str:
    if kind == _AUTHENTICATION:
        spi = int.from_bytes(data[at + 4 : at + 8], "big")
        return f"AH(spi=0x{spi:08x})"
    if kind == _ROUTING:
        return f"srcrt (len={data[at + 1]}, type={data[at + 2]}, segleft={data[at + 3]})"
    name = "HBH" if kind == _HOP_BY_HOP else "DSTOPT"
    if not printer.style.verbose:
        return name
    return f"{name} {_options(data[at + 2 : min(at + (data[at + 1] + 1) * 8, stop)])}".rstrip()


def _options(options: bytes) -> str:
    names, at = [], 0
    while at < len(options):
        kind = options[at]
        if kind == 0:
            names.append("(pad1)")
            at += 1
            continue
        size = options[at + 1] if at + 1 < len(options) else 0
        value = options[at + 2 : at + 2 + size]
        if kind == 1:
            names.append("(padn)")
        elif kind == 5:
            names.append(f"(rtalert: 0x{value.hex()})")
        elif kind == 0xC2:
            names.append(f"(jumbo: {int.from_bytes(value, 'big')})")
        else:
            names.append(f"(opt_type 0x{kind:02x}: len={size})")
        at += 2 + size
    return " ".join(names)
