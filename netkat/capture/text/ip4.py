"""IPv4 (RFC 791)."""

from __future__ import annotations

import functools
import struct

from netkat.capture.text.checksum import internet
from netkat.capture.text.context import Addresses, PrinterState, Truncated
from netkat.capture.text.dispatch import transport
from netkat.capture.text.number_names import ip4_text, protocol

_HEADER = struct.Struct("!BBHHHBBH")
_FLAGS = ("none", "+", "DF", "+, DF", "rsvd", "+, rsvd", "DF, rsvd", "+, DF, rsvd")
_ECN = ("", ",ECT(1)", ",ECT(0)", ",CE")
_OPTIONS = {
    0: "EOL", 1: "NOP", 7: "RR", 68: "timestamp", 82: "traceroute", 130: "security", 131: "LSRR",
    137: "SSRR", 148: "RA",
}  # fmt: skip


def ip4(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    """Print a packet; with -e the link header has named the protocol."""
    text = _packet(printer, data, at, end)
    return text if printer.style.link else f"IP {text}"


def _packet(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    have = len(data)
    if min(end, have) <= at:
        raise Truncated("ip")
    first = data[at]
    if first >> 4 != 4:
        return f"{first >> 4} (invalid)"
    if min(end, have) < at + 20:
        return "[|ip]"
    _, tos, length, ident, place, ttl, number, checksum = _HEADER.unpack_from(data, at)
    size = (first & 15) * 4
    if size < 20:
        return f"bad-hlen {size}"
    missing = ""
    if not length:
        length = end - at  # a GSO packet over 64 KB (BIG TCP) has length 0
    elif length < size:
        return f"bad-len {length}"
    elif at + length > end:
        missing = f"truncated-ip - {at + length - end} bytes missing! "
    finish = at + length
    if min(have, finish) < at + size:
        return f"{missing}[|ip]"
    verbose = ""
    if printer.style.verbose:
        verbose = (
            f"(tos 0x{tos:x}{_ECN[tos & 3]}, ttl {ttl}, id {ident}, "
            f"offset {(place & 0x1FFF) * 8}, "
            f"flags [{_FLAGS[(place >> 13 & 1) | (place >> 13 & 2) | (place >> 13 & 4)]}], "
            f"proto {protocol(number)} ({number}), length {length}"
            f"{_options(data[at + 20 : at + size]) if size > 20 else ''}"
            f"{_sum(printer, data[at : at + size], checksum)})\n    "
        )
    ends = _ends(data[at + 12 : at + 20])
    if place & 0x2000:
        ends = ends._replace(fragment=True)
    if place & 0x1FFF:
        name = f"ip-proto-{number}"
        if not printer.style.numeric:
            name = {1: "icmp", 6: "tcp", 17: "udp"}.get(number, name)
        return f"{missing}{verbose}{ends.source} > {ends.target}: {name}"
    return f"{missing}{verbose}{transport(printer, number, data, at + size, finish, ends)}"


@functools.lru_cache(maxsize=4096)
def _ends(addresses: bytes) -> Addresses:
    return Addresses(ip4_text(addresses[:4]), ip4_text(addresses[4:]), addresses)


def _options(options: bytes) -> str:
    names, at = [], 0
    while at < len(options):
        kind = options[at]
        names.append(_OPTIONS.get(kind, f"unknown {kind}"))
        if kind == 0:
            break
        if kind == 1:
            at += 1
            continue
        if at + 1 >= len(options) or options[at + 1] < 2:
            names[-1] += " [bad length]"
            break
        at += options[at + 1]
    return f", options ({','.join(names)})"


def _sum(printer: PrinterState, header: bytes, checksum: int) -> str:
    if not printer.style.checksums or not internet(header):
        return ""
    right = internet(header[:10] + b"\0\0" + header[12:])
    return f", bad cksum {checksum:x} (->{right:x})!"
