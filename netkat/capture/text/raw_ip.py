"""IP packets without a link header that names their version: raw, loopback, IP in IP."""

from __future__ import annotations

from netkat.capture.text.context import Addresses, PrinterState, Truncated
from netkat.capture.text.dispatch import network

_LOOPBACK_HEADER = 4


def raw_ip(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    """Print an IPv4 or IPv6 packet."""
    if min(end, len(data)) <= at:
        raise Truncated("ip")
    version = data[at] >> 4
    kind = {4: 0x0800, 6: 0x86DD}.get(version)
    text = None if kind is None else network(printer, kind, data, at, end)
    return f"unknown ip {version}" if text is None else text


def loopback(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    """Print a packet of a BSD loopback interface."""
    return raw_ip(printer, data, at + _LOOPBACK_HEADER, end)


def tunnelled(printer: PrinterState, data: bytes, at: int, end: int, addresses: Addresses) -> str:
    """Print the inner packet of IP in IP (RFC 2003, 2473, 4213)."""
    printer.enter()
    return raw_ip(printer, data, at, end)
