"""ARP and its relatives (RFC 826, 903, 2390)."""

from __future__ import annotations

import struct

from netkat.capture.text.context import PrinterState, Truncated
from netkat.capture.text.number_names import ip4_text, mac_text

_HEADER = struct.Struct("!HHBBH")
_OPERATIONS = {
    1: "Request", 2: "Reply", 3: "Reverse Request", 4: "Reverse Reply", 8: "Inverse Request",
    9: "Inverse Reply", 10: "NACK Reply",
}  # fmt: skip
_HARDWARE = {1: "Ethernet", 6: "TokenRing", 15: "FrameRelay", 24: "IEEE1394", 32: "InfiniBand"}


def arp(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    """Print a message; with -e the Ethernet header has named the protocol."""
    stop = min(end, len(data))
    if stop < at + 8:
        raise Truncated("arp")
    hardware, protocol, mac_size, ip_size, operation = _HEADER.unpack_from(data, at)
    fields, place = [], at + 8
    for size in (mac_size, ip_size, mac_size, ip_size):
        fields.append(data[place : place + size])
        place += size
    if stop < place:
        raise Truncated("arp")
    length = f", length {end - at}"
    shown = ""
    if printer.style.verbose:
        kind = _HARDWARE.get(hardware, f"Unknown Hardware ({hardware})")
        family = "IPv4" if protocol == 0x0800 else f"Unknown Protocol (0x{protocol:04x})"
        shown = f"{kind} (len {mac_size}), {family} (len {ip_size}), "
    if not printer.style.link:
        shown = f"ARP, {shown}"
    if protocol != 0x0800 or ip_size != 4 or mac_size == 0:
        return (
            f"{shown}{_OPERATIONS.get(operation, f'unknown ({operation})')} "
            f"for proto 0x{protocol:04x} ({ip_size}) hardware {hardware} ({mac_size}){length}"
        )
    sender_mac, target_mac = mac_text(fields[0]), mac_text(fields[2])
    sender, target = ip4_text(fields[1]), ip4_text(fields[3])
    if operation == 1:
        known = f" ({target_mac})" if any(fields[2]) else ""
        text = f"Request who-has {target}{known} tell {sender}"
    elif operation == 2:
        text = f"Reply {sender} is-at {sender_mac}"
    elif operation in (3, 8):
        text = f"{_OPERATIONS[operation]} who-is {target_mac} tell {sender_mac}"
    elif operation == 4:
        text = f"Reverse Reply {target_mac} at {target}"
    elif operation == 9:
        text = f"Inverse Reply {sender_mac} at {sender}"
    else:
        text = _OPERATIONS.get(operation, f"unknown ({operation})")
    return f"{shown}{text}{length}"
