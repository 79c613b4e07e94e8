"""Names of protocol numbers as tcpdump prints them, and addresses as text."""

from __future__ import annotations

import functools
import socket

ETHERTYPES = {
    0x0800: "IPv4", 0x0806: "ARP", 0x8035: "Reverse ARP", 0x86DD: "IPv6", 0x8100: "802.1Q",
    0x88A8: "802.1Q-QinQ", 0x9100: "802.1Q-9100", 0x8847: "MPLS unicast",
    0x8848: "MPLS multicast", 0x8863: "PPPoE D", 0x8864: "PPPoE S", 0x88CC: "LLDP",
    0x8808: "Flow Control", 0x8809: "Slow Protocols", 0x888E: "EAPOL", 0x6558: "TEB",
    0x88E5: "802.1ae MACsec", 0x9000: "Loopback", 0x88F7: "PTP",
}  # fmt: skip

PROTOCOLS = {
    0: "Options", 1: "ICMP", 2: "IGMP", 4: "IPIP", 6: "TCP", 8: "EGP", 9: "IGRP", 17: "UDP",
    33: "DCCP", 41: "IPv6", 43: "Routing", 44: "Fragment", 46: "RSVP", 47: "GRE", 50: "ESP",
    51: "AH", 55: "Mobile IP", 58: "ICMPv6", 77: "Sun ND", 88: "EIGRP", 89: "OSPF", 103: "PIM",
    108: "Compressed IP", 112: "VRRP", 113: "PGM", 132: "SCTP", 135: "Mobility",
}  # fmt: skip


def ethertype(number: int) -> str:
    """Return the EtherType's name, or "Unknown"."""
    return ETHERTYPES.get(number, "Unknown")


def protocol(number: int) -> str:
    """Return the IP protocol's name, or "unknown"."""
    return PROTOCOLS.get(number, "unknown")


@functools.lru_cache(maxsize=4096)
def service(port: int, transport: str) -> str:
    """Return the port's name in /etc/services, or its number."""
    try:
        return socket.getservbyport(port, transport)
    except (OSError, OverflowError):
        return str(port)


@functools.lru_cache(maxsize=4096)
def ip4_text(address: bytes) -> str:
    """Return an IPv4 address in dotted-decimal notation."""
    return ".".join(map(str, address))


@functools.lru_cache(maxsize=4096)
def ip6_text(address: bytes) -> str:
    """Return an IPv6 address as in RFC 5952."""
    return socket.inet_ntop(socket.AF_INET6, address)


@functools.lru_cache(maxsize=4096)
def mac_text(address: bytes) -> str:
    """Return a MAC address with colons."""
    return address.hex(":")
