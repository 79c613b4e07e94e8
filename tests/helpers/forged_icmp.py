"""ICMP errors as a router or an attacker sends them, quoting what the test wants.

    send(pair.peer, pair.host.address(4), TOO_BIG[4], with_number(packet, 77), mtu=1300)

The sender is an address of the namespace: a receiver cannot know which router may send one.
"""

from __future__ import annotations

import socket
import struct

from tests.helpers.netns import Namespace
from tests.stack.frames import checksum

PORT_UNREACHABLE = {4: (3, 3), 6: (1, 4)}
TIME_EXCEEDED = {4: (11, 0), 6: (3, 0)}
TOO_BIG = {4: (3, 4), 6: (2, 0)}
QUOTED = 64
"""Bytes of the packet that are quoted: its headers."""


def send(space: Namespace, to: str, kind: tuple[int, int], packet: bytes, *, mtu: int = 0) -> None:
    """Send one error about an IP packet from inside a namespace."""
    message = struct.pack("!BBHI", *kind, 0, mtu) + packet[:QUOTED]
    family, protocol = socket.AF_INET6, socket.IPPROTO_ICMPV6
    if packet[0] >> 4 == 4:
        family, protocol = socket.AF_INET, socket.IPPROTO_ICMP
        message = message[:2] + checksum(message) + message[4:]

    def put() -> None:
        with socket.socket(family, socket.SOCK_RAW, protocol) as raw:
            raw.sendto(message, (to, 0))

    space.call(put)


def headers(packet: bytes) -> int:
    """The length of the IP header, which has no options."""
    return 20 if packet[0] >> 4 == 4 else 40


def number_of(packet: bytes) -> int:
    """The TCP sequence number of an IP packet."""
    return int(struct.unpack_from("!I", packet, headers(packet) + 4)[0])


def payload_of(packet: bytes) -> int:
    """The bytes of payload in a TCP packet."""
    at = headers(packet)
    total = struct.unpack_from("!H", packet, 2)[0] if at == 20 else 40 + packet[4] * 256 + packet[5]
    return int(total) - at - (packet[at + 12] >> 4) * 4


def with_number(packet: bytes, number: int) -> bytes:
    """The packet with another TCP sequence number."""
    at = headers(packet) + 4
    return packet[:at] + struct.pack("!I", number % 2**32) + packet[at + 4 :]


def with_udp_checksum(packet: bytes, value: int) -> bytes:
    """The packet with another UDP checksum."""
    at = headers(packet) + 6
    return packet[:at] + struct.pack("!H", value % 2**16) + packet[at + 2 :]
