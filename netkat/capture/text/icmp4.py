"""ICMP for IPv4 (RFC 792, 1191, 1812)."""

from __future__ import annotations

import struct

from netkat.capture.text.context import Addresses, PrinterState, Truncated
from netkat.capture.text.dispatch import network
from netkat.capture.text.number_names import ip4_text

_UNREACHABLE = {
    0: "net {} unreachable", 1: "host {} unreachable", 5: "{} unreachable - source route failed",
    6: "net {} unreachable - unknown", 7: "host {} unreachable - unknown",
    8: "{} unreachable - source host isolated", 9: "net {} unreachable - admin prohibited",
    10: "host {} unreachable - admin prohibited", 11: "net {} unreachable - tos prohibited",
    12: "host {} unreachable - tos prohibited",
    13: "host {} unreachable - admin prohibited filter",
    14: "host {} unreachable - host precedence violation",
    15: "host {} unreachable - precedence cutoff",
}  # fmt: skip
_REDIRECT = {0: "net", 1: "host", 2: "tos-net", 3: "tos-host"}
_PORT_PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp"}


def icmp4(printer: PrinterState, data: bytes, at: int, end: int, addresses: Addresses) -> str:
    """Print a message and, with -v, the packet that it quotes."""
    stop = min(end, len(data))
    if stop < at + 4 or end < at + 8:
        raise Truncated("icmp")
    kind, code = data[at], data[at + 1]
    text = f"ICMP {_message(printer, data, at, stop, kind, code)}, length {end - at}"
    if printer.style.verbose and kind in (3, 4, 5, 11, 12):
        text += _quoted(printer, data, at + 8, end)
    return text


def _message(printer: PrinterState, data: bytes, at: int, stop: int, kind: int, code: int) -> str:
    if stop < at + 8:
        raise Truncated("icmp")
    first, second = struct.unpack_from("!HH", data, at + 4)
    if kind in (0, 8):
        return f"echo {'request' if kind else 'reply'}, id {first}, seq {second}"
    if kind == 3:
        return _unreachable(data, at, stop, code, second)
    if kind == 5:
        way = _REDIRECT.get(code, f"code {code}")
        router = ip4_text(data[at + 4 : at + 8])
        return f"redirect {_target(data, at, stop)} to {way} {router}"
    if kind == 11:
        return {0: "time exceeded in-transit", 1: "ip reassembly time exceeded"}.get(
            code, f"time exceeded-#{code}"
        )
    if kind == 12:
        return (
            f"parameter problem - code {code}"
            if code
            else (f"parameter problem - octet {data[at + 4]}")
        )
    if kind in (13, 14):
        return f"time stamp {'query' if kind == 13 else 'reply'} id {first} seq {second}"
    return {4: "source quench", 9: "router advertisement", 10: "router solicitation"}.get(
        kind, f"type-#{kind}"
    )


def _target(data: bytes, at: int, stop: int) -> str:
    """Destination address of the quoted packet."""
    if stop < at + 28:
        raise Truncated("icmp")
    return ip4_text(data[at + 24 : at + 28])


def _unreachable(data: bytes, at: int, stop: int, code: int, mtu: int) -> str:
    target = _target(data, at, stop)
    protocol = data[at + 17]
    if code == 2:
        return f"{target} protocol {protocol} unreachable"
    if code == 4:
        return f"{target} unreachable - need to frag" + (f" (mtu {mtu})" if mtu else "")
    if code == 3:
        ports = at + 8 + (data[at + 8] & 15) * 4
        if stop < ports + 4:
            raise Truncated("icmp")
        port = int.from_bytes(data[ports + 2 : ports + 4], "big")
        name = _PORT_PROTOCOLS.get(protocol)
        if name is None:
            return f"{target} protocol {protocol} port {port} unreachable"
        return f"{target} {name} port {port} unreachable"
    return _UNREACHABLE.get(code, f"{{}} unreachable - #{code}").format(target)


def _quoted(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    if len(data) < at + 20:
        return ""
    try:
        printer.enter()
    except Truncated as cut:
        return f"\n\t [|{cut}]"
    # A quoted packet is cut on purpose (RFC 1812 4.3.2.3): its length field may exceed the quote.
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    return f"\n\t{network(printer, 0x0800, data, at, max(end, at + length))}"
