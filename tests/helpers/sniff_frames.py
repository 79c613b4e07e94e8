"""Frames made by hand for the reading side: every kind that a line is printed for."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

A4, B4 = "10.0.0.1", "10.0.0.2"
A6, B6 = "2001:db8::1", "2001:db8::2"
MAC_A, MAC_B = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")


def checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ether(kind: int, payload: bytes, *, tags: tuple[tuple[int, int], ...] = ()) -> bytes:
    tagged = b"".join(struct.pack("!HH", tpid, tci) for tpid, tci in tags)
    return MAC_B + MAC_A + tagged + struct.pack("!H", kind) + payload


def ip4(
    protocol: int,
    payload: bytes,
    source: str = A4,
    target: str = B4,
    *,
    tos: int = 0,
    ident: int = 1,
    flags: int = 0x4000,
    ttl: int = 64,
    options: bytes = b"",
    length: int | None = None,
) -> bytes:
    size = 20 + len(options)
    head = (
        struct.pack(
            "!BBHHHBBH4s4s",
            0x40 | size // 4,
            tos,
            size + len(payload) if length is None else length,
            ident,
            flags,
            ttl,
            protocol,
            0,
            IPv4Address(source).packed,
            IPv4Address(target).packed,
        )
        + options
    )
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ip6(
    protocol: int,
    payload: bytes,
    source: str = A6,
    target: str = B6,
    *,
    hops: int = 64,
    flow: int = 0,
) -> bytes:
    return (
        struct.pack(
            "!IHBB16s16s",
            0x60000000 | flow,
            len(payload),
            protocol,
            hops,
            IPv6Address(source).packed,
            IPv6Address(target).packed,
        )
        + payload
    )


def pseudo(source: str, target: str, protocol: int, length: int) -> bytes:
    if ":" in source:
        return (
            IPv6Address(source).packed
            + IPv6Address(target).packed
            + struct.pack("!IHBB", length, 0, 0, protocol)
        )
    return (
        IPv4Address(source).packed
        + IPv4Address(target).packed
        + struct.pack("!BBH", 0, protocol, length)
    )


def tcp(
    sport: int,
    dport: int,
    flags: int,
    seq: int = 0,
    ack: int = 0,
    payload: bytes = b"",
    *,
    window: int = 64240,
    options: bytes = b"",
    urgent: int = 0,
    source: str = A4,
    target: str = B4,
    bad_sum: bool = False,
) -> bytes:
    options += b"\0" * (-len(options) % 4)
    offset = (20 + len(options)) // 4
    segment = (
        struct.pack(
            "!HHIIBBHHH",
            sport,
            dport,
            seq,
            ack,
            offset << 4 | flags >> 8,
            flags & 255,
            window,
            0,
            urgent,
        )
        + options
        + payload
    )
    total = checksum(pseudo(source, target, 6, len(segment)) + segment) ^ bad_sum
    return segment[:16] + struct.pack("!H", total) + segment[18:]


def udp(
    sport: int,
    dport: int,
    payload: bytes,
    *,
    source: str = A4,
    target: str = B4,
    summed: bool = True,
) -> bytes:
    datagram = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    if not summed:
        return datagram
    total = checksum(pseudo(source, target, 17, len(datagram)) + datagram) or 0xFFFF
    return datagram[:6] + struct.pack("!H", total) + datagram[8:]


def icmp4(kind: int, code: int, rest: bytes, payload: bytes = b"") -> bytes:
    message = struct.pack("!BBH", kind, code, 0) + rest + payload
    return message[:2] + struct.pack("!H", checksum(message)) + message[4:]


def icmp6(kind: int, code: int, rest: bytes, *, source: str = A6, target: str = B6) -> bytes:
    message = struct.pack("!BBH", kind, code, 0) + rest
    total = checksum(pseudo(source, target, 58, len(message)) + message)
    return message[:2] + struct.pack("!H", total) + message[4:]


def arp(
    operation: int,
    sender: str = A4,
    target: str = B4,
    *,
    target_mac: bytes = bytes(6),
    sender_mac: bytes = MAC_A,
) -> bytes:
    return (
        struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
        + sender_mac
        + IPv4Address(sender).packed
        + target_mac
        + IPv4Address(target).packed
    )


def name(text: str) -> bytes:
    return b"".join(bytes([len(part)]) + part.encode() for part in text.split(".") if part) + b"\0"


def dns(
    ident: int,
    flags: int,
    questions: list[tuple[str, int]],
    answers: Sequence[tuple[str, int, int, bytes]] = (),
    authority: int = 0,
    additional: int = 0,
    tail: bytes = b"",
) -> bytes:
    body = b"".join(name(text) + struct.pack("!HH", kind, 1) for text, kind in questions)
    for text, kind, ttl, data in answers:
        body += name(text) + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data
    return (
        struct.pack("!6H", ident, flags, len(questions), len(answers), authority, additional)
        + body
        + tail
    )


def packed(text: str) -> bytes:
    return IPv6Address(text).packed if ":" in text else IPv4Address(text).packed


MSS = b"\x02\x04\x05\xb4"
SACK_OK, NOP = b"\x04\x02", b"\x01"
WSCALE = b"\x03\x03\x07"


def stamps(value: int, echo: int) -> bytes:
    return struct.pack("!BBII", 8, 10, value, echo)


def sack(*edges: tuple[int, int]) -> bytes:
    return struct.pack("!BB", 5, 2 + 8 * len(edges)) + b"".join(
        struct.pack("!II", *edge) for edge in edges
    )


S, SA, ACK, PA, FA, R, RA = 0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14
