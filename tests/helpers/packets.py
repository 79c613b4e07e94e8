"""Packets made by hand, checksums included, for tests of whatever reads them."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

Address = IPv4Address | IPv6Address | str
MAC_A, MAC_B = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
IPV4, IPV6, ARP = 0x0800, 0x86DD, 0x0806
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))


def checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(
    packet: bytes, ethertype: int, *, source: bytes = MAC_A, destination: bytes = MAC_B
) -> bytes:
    return destination + source + ethertype.to_bytes(2, "big") + packet


def ip(
    source: Address, destination: Address, protocol: int, payload: bytes, **fields: Any
) -> bytes:
    """An IPv4 or IPv6 packet; the transport's checksum is filled in where its field is 0."""
    source, destination = ip_address(str(source)), ip_address(str(destination))
    if source.version == 4:
        return ipv4(source, destination, protocol, payload, **fields)
    return ipv6(source, destination, protocol, payload, **fields)


def ipv4(
    source: Address,
    destination: Address,
    protocol: int,
    payload: bytes,
    *,
    ttl: int = 64,
    ident: int = 1,
    offset: int = 0,
    more: int = 0,
    dont: int = 0,
    tos: int = 0,
    options: bytes = b"",
    version: int = 4,
) -> bytes:
    """``offset`` in bytes."""
    a, b = ip_address(str(source)).packed, ip_address(str(destination)).packed
    if not offset and not more:
        payload = _with_checksum(a, b, protocol, payload)
    words = 5 + len(options) // 4
    total = words * 4 + len(payload)
    flags = dont << 14 | more << 13 | offset // 8
    head = struct.pack(">BBHHH", version << 4 | words, tos, total & 0xFFFF, ident, flags)
    head += struct.pack(">BBH", ttl, protocol, 0) + a + b + options
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + payload


def ipv6(
    source: Address,
    destination: Address,
    protocol: int,
    payload: bytes,
    *,
    ttl: int = 64,
    tos: int = 0,
    label: int = 0,
    version: int = 6,
) -> bytes:
    a, b = ip_address(str(source)).packed, ip_address(str(destination)).packed
    payload = _with_checksum(a, b, protocol, payload)
    first = version << 28 | tos << 20 | label
    return struct.pack(">IHBB", first, len(payload), protocol, ttl) + a + b + payload


def ipv6_extended(
    source: Address,
    destination: Address,
    headers: list[tuple[int, bytes]],
    protocol: int,
    payload: bytes,
) -> bytes:
    """With extension headers: (number, what follows its next-header byte)."""
    following, body = protocol, payload
    for number, rest in reversed(headers):
        following, body = number, bytes([following]) + rest + body
    return ipv6(source, destination, following, body)


def options_header(number: int, eights: int = 0) -> tuple[int, bytes]:
    """A hop-by-hop or destination header of 8 * (eights + 1) bytes, all padding."""
    padding = 8 * (eights + 1) - 4
    return number, bytes([eights, 1, padding]) + bytes(padding)


def routing_header(segments_left: int, eights: int = 0) -> tuple[int, bytes]:
    """A routing header (RFC 8200, 4.4) of 8 * (eights + 1) bytes."""
    return 43, bytes([eights, 0, segments_left]) + bytes(8 * (eights + 1) - 4)


def fragment_header(offset: int, *, more: int = 0, ident: int = 7) -> tuple[int, bytes]:
    """``offset`` in bytes."""
    return 44, struct.pack(">xHI", offset & 0xFFF8 | more, ident)


def tcp(
    source: int,
    destination: int,
    payload: bytes = b"",
    *,
    seq: int = 0,
    ack: int = 0,
    flags: int = SYN,
    window: int = 64240,
    options: bytes = b"",
    urgent: int = 0,
) -> bytes:
    words = 5 + len(options) // 4
    return (
        struct.pack(
            ">HHIIBBHHH", source, destination, seq, ack, words << 4, flags, window, 0, urgent
        )
        + options
        + payload
    )


def udp(source: int, destination: int, payload: bytes = b"") -> bytes:
    return struct.pack(">HHHH", source, destination, 8 + len(payload) & 0xFFFF, 0) + payload


def transport(protocol: int, source: int, destination: int, payload: bytes = b"data") -> bytes:
    return (tcp if protocol == TCP else udp)(source, destination, payload)


def icmp(kind: int, code: int, payload: bytes = b"", *, rest: bytes = bytes(4)) -> bytes:
    """Either version; the checksum is ip()'s to fill in."""
    return bytes([kind, code, 0, 0]) + rest + payload


def arp(
    oper: int,
    sender: Address,
    target: Address,
    *,
    sender_mac: bytes = MAC_A,
    target_mac: bytes = MAC_B,
) -> bytes:
    a, b = IPv4Address(str(sender)).packed, IPv4Address(str(target)).packed
    return struct.pack(">HHBBH6s4s6s4s", 1, IPV4, 6, 4, oper, sender_mac, a, target_mac, b)


def neighbor(kind: int, target: Address, *, flags: int = 0x60, options: bytes = b"") -> bytes:
    """A neighbour solicitation (135) or advertisement (136)."""
    target_address = IPv6Address(str(target)).packed
    return icmp(kind, 0, target_address + options, rest=bytes([flags, 0, 0, 0]))


def _with_checksum(source: bytes, destination: bytes, protocol: int, payload: bytes) -> bytes:
    place = {TCP: 16, UDP: 6, ICMP: 2, ICMPV6: 2}.get(protocol)
    if place is None or len(payload) < place + 2 or payload[place : place + 2] != b"\0\0":
        return payload
    pseudo = b""
    if protocol != ICMP:
        pseudo = source + destination + struct.pack(">IHBB", len(payload), 0, 0, protocol)
    value = checksum(pseudo + payload)
    if protocol == UDP:
        value = value or 0xFFFF
    return payload[:place] + value.to_bytes(2, "big") + payload[place + 2 :]
