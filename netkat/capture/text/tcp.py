"""TCP (RFC 9293) and its options."""

from __future__ import annotations

import struct

from netkat.capture.text.checksum import internet, pseudo_header
from netkat.capture.text.context import Addresses, PrinterState
from netkat.capture.text.dispatch import segment

_HEADER = struct.Struct("!HHIIHHHH")
_PORTS = struct.Struct("!HH")
_TWO = struct.Struct("!II")
_FIN, _SYN, _RST, _ACK, _URG = 1, 2, 4, 16, 32

FLAGS = [
    "".join(letter for bit, letter in enumerate("FSRP.UEWe") if number >> bit & 1) or "none"
    for number in range(512)
]
"""Letters by the nine flag bits: FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, AE (RFC 3168, 9768)."""


def tcp(printer: PrinterState, data: bytes, at: int, end: int, ends: Addresses) -> str:
    """Print a segment, from the addresses on."""
    stop, style = min(end, len(data)), printer.style
    if end - at < 20 or stop < at + 4:
        return f"{ends.source} > {ends.target}: [|tcp]" if ends.shown else "[|tcp]"
    source, target = _PORTS.unpack_from(data, at)
    left, right = printer.port(source, "tcp"), printer.port(target, "tcp")
    if ends.shown:
        shown = f"{ends.source}.{left} > {ends.target}.{right}: "
    else:
        shown = f"{left} > {right}: "
    if stop < at + 20:
        return f"{shown} [|tcp]"
    _, _, seq, ack, bits, window, checksum, urgent = _HEADER.unpack_from(data, at)
    size, flags = (bits >> 12) * 4, bits & 0x1FF
    length = end - at - size
    if size < 20 or length < 0:
        fault = "too short, < 20" if size < 20 else f"too long, > {end - at}"
        return f"{shown}tcp {end - at - size} [bad hdr length {size} - {fault}]"
    if style.quiet:
        return f"{shown}tcp {length}"
    parts = [f"{shown}Flags [{FLAGS[flags]}]"]
    if style.verbose and style.checksums and not ends.fragment and len(data) >= end:
        parts.append(_sum(data, at, end, ends, checksum))
    bases = (0, 0)
    if not style.absolute and flags & _ACK:
        seq, ack, bases = _relative(printer, data, at, ends, (source, target, flags, seq, ack))
    if style.verbose > 1 or length or flags & (_FIN | _SYN | _RST):
        parts.append(f", seq {seq}:{(seq + length) & 0xFFFFFFFF}" if length else f", seq {seq}")
    if flags & _ACK:
        parts.append(f", ack {ack}")
    parts.append(f", win {window}")
    if flags & _URG:
        parts.append(f", urg {urgent}")
    if size > 20:
        options = _options(data[at + 20 : min(at + size, stop)], size - 20, flags, bases)
        parts.append(f", options [{options}")
        if options.endswith(("[bad opt]", "[|tcp]>")):
            # tcpdump prints nothing after invalid options.
            return "".join(parts)
    parts.append(f", length {length}")
    if length and stop > at + size:
        parts.append(segment(printer, source, target, data, at + size, end))
    return "".join(parts)


def _relative(
    printer: PrinterState,
    data: bytes,
    at: int,
    ends: Addresses,
    header: tuple[int, int, int, int, int],
) -> tuple[int, int, tuple[int, int]]:
    """Return relative sequence numbers, and the base values for SACK edges."""
    _, _, flags, seq, ack = header
    ports = data[at : at + 4]
    key, reverse = _conversation(ends.packed, ports)
    known = printer.conversations.get(key)
    if known is None or flags & _SYN:
        for flow in (ends.packed + ports, _swapped(ends.packed) + _swapped(ports)):
            printer.directions.pop(flow, None)
        first = ((ack - 1) & 0xFFFFFFFF, seq) if reverse else (seq, (ack - 1) & 0xFFFFFFFF)
        printer.remember(key, first)
        return seq, ack, (first if reverse else (first[1], first[0]))
    ours, theirs = (known[1], known[0]) if reverse else known
    return (seq - ours) & 0xFFFFFFFF, (ack - theirs) & 0xFFFFFFFF, (theirs, ours)


def bases(printer: PrinterState, addresses: bytes, ports: bytes) -> tuple[int, int] | None:
    """Return what relative numbers of one direction start from, or None if nothing is known."""
    key, reverse = _conversation(addresses, ports)
    known = printer.conversations.get(key)
    return (known[1], known[0]) if known is not None and reverse else known


def _conversation(addresses: bytes, ports: bytes) -> tuple[bytes, bool]:
    """Return the key of both directions, and whether this one is the reverse."""
    half = len(addresses) // 2
    source, target = ports[:2], ports[2:]
    if source > target or (source == target and addresses[:half] > addresses[half:]):
        return _swapped(addresses) + target + source, True
    return addresses + ports, False


def _swapped(pair: bytes) -> bytes:
    half = len(pair) // 2
    return pair[half:] + pair[:half]


def _sum(data: bytes, at: int, end: int, ends: Addresses, checksum: int) -> str:
    header = pseudo_header(ends.packed, 6, end - at)
    right = internet(header + data[at : at + 16] + b"\0\0" + data[at + 18 : end])
    if right == checksum:
        return f", cksum 0x{checksum:04x} (correct)"
    return f", cksum 0x{checksum:04x} (incorrect -> 0x{right:04x})"


def _options(options: bytes, size: int, flags: int, bases: tuple[int, int]) -> str:
    """Return the list and its closing bracket; invalid options end it early."""
    if size == 12 and options[:4] == b"\x01\x01\x08\x0a" and len(options) == 12:
        # Nearly every segment between two Linux hosts has these options.
        value, echo = _TWO.unpack_from(options, 4)
        return f"nop,nop,TS val {value} ecr {echo}]"
    texts: list[str] = []
    at, have = 0, len(options)
    while at < size:
        if at >= have:
            return ",".join(texts) + " [|tcp]>"
        kind = options[at]
        if kind == 0:
            texts.append("eol")
            break
        if kind == 1:
            texts.append("nop")
            at += 1
            continue
        if at + 1 >= have:
            return ",".join(texts) + (" [|tcp]>" if have < size else "[bad opt]")
        length = options[at + 1]
        if length < 2 or at + length > size:
            return ",".join([*texts, "[bad opt]"])
        if at + length > have:
            return ",".join([*texts, f"{_NAMES.get(kind, f'unknown-{kind}')} [|tcp]>"])
        value = options[at + 2 : at + length]
        texts.append(_option(kind, value, flags, bases))
        at += length
    return ",".join(texts) + "]"


_NAMES = {
    2: "mss", 3: "wscale", 4: "sackOK", 5: "sack", 8: "TS", 19: "md5", 28: "uto", 30: "mptcp",
    34: "tfo",
}  # fmt: skip


def _option(kind: int, value: bytes, flags: int, bases: tuple[int, int]) -> str:
    size = len(value)
    if kind == 8 and size == 8:
        stamp, echo = _TWO.unpack(value)
        return f"TS val {stamp} ecr {echo}"
    if kind == 2 and size == 2:
        return f"mss {value[0] << 8 | value[1]}"
    if kind == 3 and size == 1:
        return f"wscale {value[0]}"
    if kind == 4 and not size:
        return "sackOK"
    if kind == 5 and size and not size % 8 and flags & _ACK:
        edges = "".join(
            f"{{{(left - bases[0]) & 0xFFFFFFFF}:{(right - bases[0]) & 0xFFFFFFFF}}}"
            for left, right in _TWO.iter_unpack(value)
        )
        return f"sack {size // 8} {edges}"
    if kind == 28 and size == 2:
        number = value[0] << 8 | value[1]
        return f"uto 0x{number:x} {(number & 0x7FFF) * (60 if number & 0x8000 else 1)}"
    if kind == 34:
        return f"tfo  cookie {value.hex()}" if size else "tfo  cookiereq"
    name = _NAMES.get(kind, f"unknown-{kind}")
    return f"{name} 0x{value.hex()}" if size else name
