"""The frames of an injected client: a SYN, its RST, a datagram."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from netkat.flow import IPAddress, Protocol

CLIENT_MAC = b"\x02\0\0\0\0\x77"
"""Locally administered: no machine's own."""
_SYN, _RST = 2, 4
_SEQUENCE = 1000
_WINDOW = 64240
_MSS_1460 = struct.pack("!BBH", 2, 4, 1460)
_TTL = 62
"""As of a client two hops away."""


@dataclass(frozen=True, slots=True)
class Client:
    """Sender, source port and destination; ``mac`` is the receiving interface's."""

    mac: bytes
    source: IPAddress
    source_port: int
    destination: IPAddress
    port: int
    protocol: Protocol

    def opening(self, payload: bytes) -> bytes:
        """The SYN, or the datagram."""
        if self.protocol is Protocol.TCP:
            return self._frame(self._segment(_SYN, _SEQUENCE, _MSS_1460), 16)
        header = struct.pack("!HHHH", self.source_port, self.port, 8 + len(payload), 0)
        return self._frame(header + payload, 6)

    def reset(self) -> bytes:
        """The RST that ends what the SYN has opened."""
        return self._frame(self._segment(_RST, _SEQUENCE + 1), 16)

    def _segment(self, flags: int, sequence: int, options: bytes = b"") -> bytes:
        offset = (20 + len(options)) // 4 << 4
        ports = self.source_port, self.port
        return (
            struct.pack("!HHIIBBHHH", *ports, sequence, 0, offset, flags, _WINDOW, 0, 0) + options
        )

    def _frame(self, data: bytes, checksum_at: int) -> bytes:
        ends = self.source.packed + self.destination.packed
        if self.source.version == 4:
            pseudo = ends + struct.pack("!BBH", 0, self.protocol, len(data))
        else:
            pseudo = ends + struct.pack("!II", len(data), self.protocol)
        # A sum of 0 means "none" in UDP (RFC 768).
        total = _checksum(pseudo + data) or 0xFFFF
        data = data[:checksum_at] + struct.pack("!H", total) + data[checksum_at + 2 :]
        return self.mac + CLIENT_MAC + self._network_header(len(data), ends) + data

    def _network_header(self, length: int, ends: bytes) -> bytes:
        if self.source.version == 6:
            start = struct.pack("!IHBB", 6 << 28, length, self.protocol, _TTL)
            return b"\x86\xdd" + start + ends
        start = struct.pack("!BBHHHBB", 0x45, 0, 20 + length, 1, 0, _TTL, self.protocol)
        total = _checksum(start + b"\0\0" + ends)
        return b"\x08\x00" + start + struct.pack("!H", total) + ends


def _checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF
