"""Link headers: Ethernet and its tags, cooked Linux captures, raw IP."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from netkat.capture import linktype as lt
from netkat.capture.text import dump, ip4, ip6
from netkat.capture.text.arp import arp
from netkat.capture.text.number_names import ethertype, mac_text
from netkat.capture.text.printer import Printer, Truncated

if TYPE_CHECKING:
    from netkat.capture.packet import Packet

_TYPE = struct.Struct("!H")
_TAG = struct.Struct("!HH")
_TAGS = (0x8100, 0x88A8, 0x9100, 0x9200)
_SLL = struct.Struct("!HHH8sH")
_SLL2 = struct.Struct("!HxxIHBB8s")
_WAYS = {0: "In", 1: "B", 2: "M", 3: "P", 4: "Out"}
_LENGTHS = {lt.ETHERNET: 14, lt.LINUX_SLL: 16, lt.LINUX_SLL2: 20, lt.NULL: 4, lt.LOOP: 4}


def frame(printer: Printer, packet: Packet) -> str:
    """A whole captured frame."""
    kind, data, end = packet.linktype, packet.raw, packet.length
    if not data:
        return "[Invalid header: caplen==0, len==0]" if not end else "[nothing captured]"
    try:
        if kind == lt.ETHERNET:
            return ethernet(printer, data, 0, end)
        if kind == lt.LINUX_SLL2:
            return _cooked2(printer, packet)
        if kind == lt.LINUX_SLL:
            return _cooked(printer, data, end)
        if kind in (lt.RAW, lt.IPV4, lt.IPV6):
            return _bare(printer, data, 0, end)
        if kind in (lt.NULL, lt.LOOP):
            return _bare(printer, data, 4, end)
    except Truncated as cut:
        return f" [|{cut}]"
    return f"link-type {kind}, length {end}: " + dump.hexadecimal(data, ascii_column=True)


def header_length(packet: Packet) -> int:
    """Bytes of link header that -x leaves out."""
    length = _LENGTHS.get(packet.linktype, 0)
    if packet.linktype == lt.ETHERNET:
        raw = packet.raw
        while len(raw) >= length + 4 and _TYPE.unpack_from(raw, length - 2)[0] in _TAGS:
            length += 4
    return length


def ethernet(printer: Printer, data: bytes, at: int, end: int) -> str:
    """An Ethernet frame, outermost or inside a tunnel."""
    if min(end, len(data)) < at + 14:
        raise Truncated("ether")
    printer.enter()
    (kind,) = _TYPE.unpack_from(data, at + 12)
    macs = ""
    if printer.style.link:
        macs = f"{mac_text(data[at + 6 : at + 12])} > {mac_text(data[at : at + 6])}, "
    if kind <= 1500:
        return _802_3(printer, data, at, end, macs, kind)
    shown = ""
    if macs:
        shown = f"{macs}ethertype {ethertype(kind)} (0x{kind:04x}), length {end - at}: "
    body = at + 14
    while kind in _TAGS:
        if min(end, len(data)) < body + 4:
            raise Truncated("vlan")
        tag, kind = _TAG.unpack_from(data, body)
        body += 4
        if shown:
            drop = ", DEI" if tag & 0x1000 else ""
            shown += f"vlan {tag & 0xFFF}, p {tag >> 13}{drop}, "
            if kind > 1500:
                shown += f"ethertype {ethertype(kind)} (0x{kind:04x}), "
    try:
        text = network(printer, data, body, end, kind)
    except Truncated as cut:
        text = f" [|{cut}]"
    if text is not None:
        return shown + text
    if not shown:
        shown = (
            f"{mac_text(data[at + 6 : at + 12])} > {mac_text(data[at : at + 6])}, "
            f"ethertype {ethertype(kind)} (0x{kind:04x}), length {end - at}: "
        )
    return shown + _unknown(printer, data, body, end)


def network(printer: Printer, data: bytes, at: int, end: int, kind: int) -> str | None:
    """What an EtherType announces; None where it is not known."""
    if kind == 0x0800:
        text = ip4.packet(printer, data, at, end)
        return text if printer.style.link else f"IP {text}"
    if kind == 0x86DD:
        text = ip6.packet(printer, data, at, end)
        return text if printer.style.link else f"IP6 {text}"
    if kind in (0x0806, 0x8035):
        text = arp(printer, data, at, end)
        return text if printer.style.link else f"ARP, {text}"
    if kind in (0x8847, 0x8848):
        return _mpls(printer, data, at, end)
    if kind == 0x6558:
        return ethernet(printer, data, at, end)
    if kind == 0x88CC:
        return f"LLDP, length {end - at}"
    return None


def bare_ip(printer: Printer, data: bytes, at: int, end: int) -> str:
    """An IP packet whose version only its first bits tell, named."""
    return _bare(printer, data, at, end)


def _bare(printer: Printer, data: bytes, at: int, end: int) -> str:
    if min(end, len(data)) <= at:
        raise Truncated("ip")
    version = data[at] >> 4
    if version == 4:
        return f"{'' if printer.style.link else 'IP '}{ip4.packet(printer, data, at, end)}"
    if version == 6:
        return f"{'' if printer.style.link else 'IP6 '}{ip6.packet(printer, data, at, end)}"
    return f"unknown ip {version}"


def _unknown(printer: Printer, data: bytes, at: int, end: int) -> str:
    # tcpdump dumps what it cannot read; not twice when -x asked for a dump anyway.
    if printer.style.dump or printer.style.quiet:
        return ""
    return dump.hexadecimal(data[at : max(end, at)], ascii_column=True)


def _802_3(printer: Printer, data: bytes, at: int, end: int, macs: str, length: int) -> str:
    """IEEE 802.3 with an LLC header: named by its service access points."""
    stop = min(end, len(data))
    if stop < at + 17:
        raise Truncated("llc")
    target, source, control = data[at + 14 : at + 17]
    shown = f"{macs}802.3, length {length}: LLC, " if macs else "LLC, "
    if (target, source) == (0x42, 0x42):
        return f"{macs}802.3, length {length}: STP" if macs else f"STP, length {length - 3}"
    text = f"{shown}dsap 0x{target:02x}, ssap 0x{source:02x}, ctrl 0x{control:02x}: length {length}"
    return text + _unknown(printer, data, at + 17, end)


def _mpls(printer: Printer, data: bytes, at: int, end: int) -> str:
    labels = []
    while True:
        if min(end, len(data)) < at + 4:
            raise Truncated("mpls")
        entry = int.from_bytes(data[at : at + 4], "big")
        at += 4
        bottom = ", [S]" if entry & 0x100 else ""
        labels.append(f"(label {entry >> 12}, tc {entry >> 9 & 7}{bottom}, ttl {entry & 0xFF})")
        if bottom:
            break
    separator = "\n\t" if printer.style.verbose else " "
    return f"MPLS {' '.join(labels)}{separator}{_bare(printer, data, at, end)}"


def _cooked(printer: Printer, data: bytes, end: int) -> str:
    if len(data) < 16:
        raise Truncated("sll")
    way, _, size, address, kind = _SLL.unpack_from(data)
    shown = ""
    if printer.style.link:
        mac = mac_text(address[: min(size, 8)])
        shown = f"{_WAYS.get(way, '?'):>3} {mac} ethertype {ethertype(kind)} (0x{kind:04x}), "
        shown += f"length {end}: "
    text = network(printer, data, 16, end, kind)
    return shown + (_no_network(printer, data, 16, end, kind) if text is None else text)


def _cooked2(printer: Printer, packet: Packet) -> str:
    data, end = packet.raw, packet.length
    if len(data) < 20:
        raise Truncated("sll2")
    kind, index, _, way, size, address = _SLL2.unpack_from(data)
    name = packet.interface or f"if{index}"
    shown = f"{name:<5} {_WAYS.get(way, '?'):<3} "
    at = 20
    if printer.style.link:
        mac = mac_text(address[: min(size, 8)])
        shown += f"ifindex {index} {mac} ethertype {ethertype(kind)} (0x{kind:04x}), "
        shown += f"length {end}: "
    while kind in _TAGS:
        if len(data) < at + 4:
            raise Truncated("vlan")
        tag, kind = _TAG.unpack_from(data, at)
        at += 4
        if printer.style.link:
            shown += f"vlan {tag & 0xFFF}, p {tag >> 13}, ethertype {ethertype(kind)}, "
    text = network(printer, data, at, end, kind)
    return shown + (_no_network(printer, data, at, end, kind) if text is None else text)


def _no_network(printer: Printer, data: bytes, at: int, end: int, kind: int) -> str:
    return (
        f"ethertype {ethertype(kind)} (0x{kind:04x}), length {end}: "
        f"{_unknown(printer, data, at, end)}"
    )
