"""The Internet checksum (RFC 1071), to verify checksums in packets."""

from __future__ import annotations

import struct


def internet(data: bytes) -> int:
    """Return the checksum of ``data``; 0 if ``data`` includes a correct checksum."""
    if len(data) & 1:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def pseudo_header(addresses: bytes, protocol: int, length: int) -> bytes:
    """Return the pseudo-header for IPv4 (8 bytes of addresses, RFC 9293) or IPv6 (32, RFC 8200)."""
    if len(addresses) == 8:
        return addresses + struct.pack("!BBH", 0, protocol, length & 0xFFFF)
    return addresses + struct.pack("!IHBB", length, 0, 0, protocol)
