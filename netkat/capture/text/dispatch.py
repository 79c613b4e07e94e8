"""Which dissector prints which protocol: one row for each, loaded when a packet first needs it.

Every dissector takes (printer, data, at, end, ...): the whole packet, where its header begins, and
where its bytes end according to the layer below. ``end`` may lie beyond the captured bytes or
before them (padding); a dissector reads nothing at or after either. It raises Truncated if its
header is cut off. The functions here print that, so what outer headers printed is kept.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Generic, TypeVar

from netkat.capture import linktype as lt
from netkat.capture.text.context import Addresses, PrinterState, Truncated

Dissector = Callable[[PrinterState, bytes, int, int], str]
TransportDissector = Callable[[PrinterState, bytes, int, int, Addresses], str]
F = TypeVar("F", Dissector, TransportDissector)

_PACKAGE = "netkat.capture.text."


class DissectorTable(dict[int, F], Generic[F]):
    """Functions by number; ``rows`` name them as "module.function"."""

    def __init__(self, rows: dict[int, str]) -> None:
        super().__init__()
        self.rows = rows

    def __missing__(self, number: int) -> F:
        module, _, function = self.rows[number].partition(".")
        found: F = getattr(importlib.import_module(_PACKAGE + module), function)
        self[number] = found
        return found


BY_LINKTYPE = DissectorTable[Dissector]({
    lt.ETHERNET: "ethernet.ethernet",
    lt.LINUX_SLL: "cooked.sll",
    lt.LINUX_SLL2: "cooked.sll2",
    lt.RAW: "raw_ip.raw_ip",
    lt.IPV4: "raw_ip.raw_ip",
    lt.IPV6: "raw_ip.raw_ip",
    lt.NULL: "raw_ip.loopback",
    lt.LOOP: "raw_ip.loopback",
})  # fmt: skip

BY_ETHERTYPE = DissectorTable[Dissector]({
    0x0800: "ip4.ip4",
    0x0806: "arp.arp",
    0x6558: "ethernet.ethernet",
    0x8035: "arp.arp",
    0x86DD: "ip6.ip6",
    0x8847: "mpls.mpls",
    0x8848: "mpls.mpls",
    0x88CC: "length_only.lldp",
})  # fmt: skip

BY_IP_PROTOCOL = DissectorTable[TransportDissector]({
    1: "icmp4.icmp4",
    2: "igmp.igmp",
    4: "raw_ip.tunnelled",
    6: "tcp.tcp",
    17: "udp.udp",
    41: "raw_ip.tunnelled",
    46: "length_only.rsvp",
    47: "gre.gre",
    50: "ipsec.esp",
    51: "ipsec.ah",
    58: "icmp6.icmp6",
    59: "length_only.no_next_header",
    88: "length_only.eigrp",
    89: "length_only.ospf",
    103: "length_only.pim",
    112: "length_only.vrrp",
    132: "sctp.sctp",
})  # fmt: skip

BY_UDP_PORT = DissectorTable[Dissector]({
    53: "domain.domain",
    67: "bootp.bootp",
    68: "bootp.bootp",
    123: "ntp.ntp",
    4789: "vxlan.vxlan",
    5353: "domain.multicast_dns",
    5355: "domain.domain",
    6081: "geneve.geneve",
    8472: "vxlan.vxlan",
})  # fmt: skip
"""Tunnels (VXLAN on IANA's port and on Linux's own, Geneve) are found by destination port only."""

TUNNEL_PORTS = frozenset((4789, 6081, 8472))

BY_TCP_PORT = DissectorTable[Dissector]({
    53: "domain.dns_over_tcp",
    80: "http.http",
    8080: "http.http",
})  # fmt: skip


def link(printer: PrinterState, linktype: int, data: bytes, at: int, end: int) -> str | None:
    """Return the text of a frame, or None for an unknown link type."""
    if linktype not in BY_LINKTYPE.rows:
        return None
    try:
        return BY_LINKTYPE[linktype](printer, data, at, end)
    except Truncated as cut:
        return f" [|{cut}]"


def network(printer: PrinterState, ethertype: int, data: bytes, at: int, end: int) -> str | None:
    """Return the text of what an EtherType announces, or None for an unknown one."""
    if ethertype not in BY_ETHERTYPE.rows:
        return None
    try:
        return BY_ETHERTYPE[ethertype](printer, data, at, end)
    except Truncated as cut:
        return f" [|{cut}]"


def transport(
    printer: PrinterState, number: int, data: bytes, at: int, end: int, addresses: Addresses
) -> str:
    """Return the text of an IP packet's payload, with the addresses in front."""
    if number not in BY_IP_PROTOCOL.rows:
        return f"{addresses.prefix} ip-proto-{number} {end - at}"
    dissector = BY_IP_PROTOCOL[number]
    if number in (6, 17):  # these print ports next to the addresses
        return dissector(printer, data, at, end, addresses)
    try:
        return addresses.prefix + dissector(printer, data, at, end, addresses)
    except Truncated as cut:
        return f"{addresses.prefix} [|{cut}]"


def datagram(
    printer: PrinterState, source: int, target: int, data: bytes, at: int, end: int
) -> str:
    """Return the text of a UDP payload, or "" if neither port has a dissector."""
    for port in (target, source):
        if port in BY_UDP_PORT.rows and (port == target or port not in TUNNEL_PORTS):
            try:
                return BY_UDP_PORT[port](printer, data, at, end)
            except Truncated as cut:
                return f" [|{cut}]"
    return ""


def segment(printer: PrinterState, source: int, target: int, data: bytes, at: int, end: int) -> str:
    """Return the text of a TCP payload, or "" if neither port has a dissector."""
    for port in (target, source):
        if port in BY_TCP_PORT.rows:
            return BY_TCP_PORT[port](printer, data, at, end)
    return ""
