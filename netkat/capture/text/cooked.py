"""Linux cooked captures (LINKTYPE_LINUX_SLL and LINKTYPE_LINUX_SLL2)."""

from __future__ import annotations

import struct

from netkat.capture.text.context import PrinterState, Truncated
from netkat.capture.text.dispatch import network
from netkat.capture.text.escape import escape
from netkat.capture.text.ethernet import VLAN_TYPES, vlan
from netkat.capture.text.hex_dump import undecoded
from netkat.capture.text.llc import llc
from netkat.capture.text.number_names import ethertype, mac_text

_SLL = struct.Struct("!HHH8sH")
_SLL2 = struct.Struct("!HxxIHBB8s")
_PACKET_TYPES = {0: "In", 1: "B", 2: "M", 3: "P", 4: "Out"}
_802_2 = 4
"""ETH_P_802_2 in place of an EtherType: an LLC header follows."""


def sll(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    """Print a packet of version 1."""
    if len(data) < at + 16:
        raise Truncated("sll")
    packet_type, _, size, address, kind = _SLL.unpack_from(data, at)
    shown = ""
    if printer.style.link:
        mac = mac_text(address[: min(size, 8)])
        shown = f"{_PACKET_TYPES.get(packet_type, '?'):>3} {mac} {_named(kind)}, length {end}: "
    return shown + _payload(printer, data, at + 16, end, kind)


def sll2(printer: PrinterState, data: bytes, at: int, end: int) -> str:
    """Print a packet of version 2, which has the interface's number."""
    if len(data) < at + 20:
        raise Truncated("sll2")
    kind, index, _, packet_type, size, address = _SLL2.unpack_from(data, at)
    name = escape(printer.interface) or f"if{index}"
    shown = f"{name:<5} {_PACKET_TYPES.get(packet_type, '?'):<3} "
    if printer.style.link:
        mac = mac_text(address[: min(size, 8)])
        shown += f"ifindex {index} {mac} {_named(kind)}, length {end}: "
    return shown + _payload(printer, data, at + 20, end, kind)


def _payload(printer: PrinterState, data: bytes, at: int, end: int, kind: int) -> str:
    shown = ""
    while kind in VLAN_TYPES:
        if min(end, len(data)) < at + 4:
            return f"{shown} [|vlan]"
        if printer.style.link:
            shown += vlan(data, at)
        kind = data[at + 2] << 8 | data[at + 3]
        at += 4
    if kind == _802_2:
        return shown + llc(printer, data, at, end, end - at)
    text = network(printer, kind, data, at, end)
    if text is None:
        text = f"{_named(kind)}, length {end}: {undecoded(printer.style, data, at, end)}"
    return shown + text


def _named(kind: int) -> str:
    return f"ethertype {ethertype(kind)} (0x{kind:04x})"
