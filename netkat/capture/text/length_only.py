"""Protocols of which only the name and the length are printed."""

from __future__ import annotations

from netkat.capture.text.context import Addresses, PrinterState
from netkat.capture.text.dispatch import TransportDissector


def _named(name: str) -> TransportDissector:
    def dissect(printer: PrinterState, data: bytes, at: int, end: int, addresses: Addresses) -> str:
        return f"{name}, length {end - at}"

    return dissect


eigrp, ospf, pim, rsvp, vrrp = map(_named, ("EIGRP", "OSPF", "PIM", "RSVP", "VRRP"))


def no_next_header(
    printer: PrinterState, data: bytes, at: int, end: int, addresses: Addresses
) -> str:
    """Print that nothing follows an IPv6 header (RFC 8200)."""
    return "no next header"


def lldp(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    """Print the length of an LLDP frame (IEEE 802.1AB)."""
    return f"LLDP, length {end - at}"
