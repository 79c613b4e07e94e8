"""IP packets made byte by byte, with the fragments, options and headers that a test wants."""

from __future__ import annotations

import struct

from netkat.flow import Flow, IPAddress, Protocol

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
HOP_BY_HOP, ROUTING, FRAGMENT, AH, DESTINATION = 0, 43, 44, 51, 60


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pseudo(source: IPAddress, destination: IPAddress, protocol: int, length: int) -> bytes:
    """The pseudo-header of either version."""
    shape = "!BBH" if source.version == 4 else "!IxxxB"
    tail = (0, protocol, length) if source.version == 4 else (length, protocol)
    return source.packed + destination.packed + struct.pack(shape, *tail)


def segment(
    source: IPAddress, destination: IPAddress, ports: tuple[int, int], *, payload: bytes = b""
) -> bytes:
    """A TCP segment with ACK: a kernel that knows no such flow answers RST."""
    header = struct.pack("!HHIIBBHHH", *ports, 1000, 2000, 5 << 4, 0x10, 65535, 0, 0)
    data = header + payload
    made = checksum(pseudo(source, destination, TCP, len(data)) + data)
    return data[:16] + struct.pack("!H", made) + data[18:]


def datagram(
    source: IPAddress, destination: IPAddress, ports: tuple[int, int], *, payload: bytes = b"x"
) -> bytes:
    """A UDP datagram: a kernel that has no such socket answers port unreachable."""
    length = 8 + len(payload)
    data = struct.pack("!HHHH", *ports, length, 0) + payload
    made = checksum(pseudo(source, destination, UDP, length) + data) or 0xFFFF
    return data[:6] + struct.pack("!H", made) + data[8:]


def ipv4(
    source: IPAddress,
    destination: IPAddress,
    protocol: int,
    payload: bytes,
    *,
    options: bytes = b"",
    fragment: tuple[int, bool] = (0, False),
    ident: int = 7,
) -> bytes:
    """``fragment``: offset in bytes, and whether more follow. Options in multiples of four."""
    length = 20 + len(options)
    offset = fragment[0] // 8 | (0x2000 if fragment[1] else 0)
    first = 0x40 | length // 4
    header = struct.pack(
        "!BBHHHBBH", first, 0, length + len(payload), ident, offset, 64, protocol, 0
    )
    header += source.packed + destination.packed + options
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def ipv6(
    source: IPAddress,
    destination: IPAddress,
    protocol: int,
    payload: bytes,
    *,
    extensions: list[tuple[int, bytes]] | None = None,
) -> bytes:
    """``extensions``: number and content without its first byte, the next header's number."""
    numbers = [number for number, _ in extensions or []] + [protocol]
    body = b"".join(
        bytes([following]) + content
        for (_, content), following in zip(extensions or [], numbers[1:], strict=True)
    )
    body += payload
    return (
        struct.pack("!IHBB", 6 << 28, len(body), numbers[0], 64)
        + source.packed
        + destination.packed
        + body
    )


PADDING = bytes([0, 1, 4, 0, 0, 0, 0])
"""An options header of 8 bytes that holds padding alone."""


def packet(flow: Flow, *, payload: bytes = b"") -> bytes:
    """What the flow's peer sends."""
    assert flow.remote is not None
    make = segment if flow.protocol is Protocol.TCP else datagram
    ports = (flow.remote_port, flow.local_port)
    data = make(flow.remote, flow.local, ports, payload=payload or b"x")
    around = ipv4 if flow.version == 4 else ipv6
    return around(flow.remote, flow.local, flow.protocol, data)
