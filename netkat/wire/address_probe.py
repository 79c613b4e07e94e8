"""Probe a link for the owner of an address, and announce a new owner.

IPv4 by ARP probes and announcements (RFC 5227), IPv6 by duplicate address
detection's solicitations (RFC 4862, 5.4) and an unsolicited advertisement
(RFC 4861, 7.2.6).
"""

from __future__ import annotations

import select
import socket
import struct
import time
from ipaddress import IPv6Address

from netkat.flow import IPAddress
from netkat.wire import if_packet

PROBES = 3
INTERVAL = 0.2
"""Seconds to wait for a reply to each probe. RFC 5227 waits one to two seconds, for
networks that have just come up; a command line tool should not wait that long."""

_ETH_P_ARP, _ETH_P_IPV6 = 0x0806, 0x86DD
_PACKET_OUTGOING = 4
_BROADCAST = b"\xff" * 6
_ALL_NODES = IPv6Address("ff02::1")
_ARP_REQUEST = 1
_SOLICITATION, _ADVERTISEMENT = 135, 136
_OVERRIDE = 0x20
_TARGET_MAC = 2
_ICMPV6 = 58
_ARP = struct.Struct("!HHBBH6s4s6s4s")

# Neighbour solicitations and advertisements, which have no extension headers.
_NEIGHBORS: list[if_packet.Instruction] = [
    (0x30, 0, 0, 20),  # ldb the next header's number
    (0x15, 0, 4, _ICMPV6),
    (0x30, 0, 0, 54),  # ldb ICMPv6's type
    (0x15, 1, 0, _SOLICITATION),
    (0x15, 0, 1, _ADVERTISEMENT),
    (0x06, 0, 0, 0xFFFF),  # ret all
    (0x06, 0, 0, 0),  # ret nothing
]


def current_owner(interface: str, address: IPAddress, mac: bytes) -> bytes | None:
    """Return the MAC of the host that has the address or probes for it; None if it is free.

    ``mac`` is the sender of the probes. It takes 0.6 s. Errors: OSError.
    """
    with _open(interface, address) as sock:
        for _ in range(PROBES):
            sock.send(_probe(address, mac))
            found = _listen(sock, address, mac, time.monotonic() + INTERVAL)
            if found is not None:
                return found
    return None


def announce(interface: str, address: IPAddress, mac: bytes) -> None:
    """Announce the address's MAC to hosts that have cached another. Errors: OSError."""
    with _open(interface, address) as sock:
        sock.send(_announcement(address, mac))


def solicited_node_mac(address: IPAddress) -> bytes:
    """Return the multicast MAC of an IPv6 address's solicitations (RFC 4291 2.7.1; RFC 2464 7)."""
    return b"\x33\x33\xff" + address.packed[-3:]


def _open(interface: str, address: IPAddress) -> socket.socket:
    protocol = _ETH_P_ARP if address.version == 4 else _ETH_P_IPV6
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    try:
        if address.version == 6:
            value, alive = if_packet.sock_fprog(_NEIGHBORS)
            sock.setsockopt(socket.SOL_SOCKET, if_packet.SO_ATTACH_FILTER, value)
            del alive
        sock.bind((interface, protocol))
        if address.version == 6:
            group = solicited_node_mac(address)
            request = if_packet.PACKET_MREQ.pack(
                socket.if_nametoindex(interface), if_packet.PACKET_MR_MULTICAST, len(group), group
            )
            sock.setsockopt(if_packet.SOL_PACKET, if_packet.PACKET_ADD_MEMBERSHIP, request)
    except BaseException:
        sock.close()
        raise
    return sock


def _listen(sock: socket.socket, address: IPAddress, mac: bytes, end: float) -> bytes | None:
    while (left := end - time.monotonic()) > 0:
        if not select.select([sock], [], [], left)[0]:
            return None
        frame, where = sock.recvfrom(2048)
        if where[2] == _PACKET_OUTGOING or frame[6:12] == mac:
            continue
        found = (_of_arp if address.version == 4 else _of_neighbor)(frame, address.packed)
        if found is not None:
            return found
    return None


def _of_arp(frame: bytes, address: bytes) -> bytes | None:
    """Return the sender's MAC if it uses the address, or probes for it as well."""
    if len(frame) < 14 + _ARP.size:
        return None
    _, _, _, _, operation, sender_mac, sender, _, target = _ARP.unpack_from(frame, 14)
    probes_too = operation == _ARP_REQUEST and sender == bytes(4) and target == address
    return bytes(sender_mac) if sender == address or probes_too else None


def _of_neighbor(frame: bytes, address: bytes) -> bytes | None:
    kind, target = frame[54], frame[62:78]
    probes_too = kind == _SOLICITATION and frame[22:38] == bytes(16)
    if target == address and (kind == _ADVERTISEMENT or probes_too):
        return frame[6:12]
    return None


def _probe(address: IPAddress, mac: bytes) -> bytes:
    if address.version == 4:
        return _arp(mac, bytes(4), address.packed)
    group = IPv6Address(b"\xff\x02" + bytes(9) + b"\x01\xff" + address.packed[-3:])
    solicitation = struct.pack("!BBHI", _SOLICITATION, 0, 0, 0) + address.packed
    return _ipv6(solicited_node_mac(address), mac, bytes(16), group.packed, solicitation)


def _announcement(address: IPAddress, mac: bytes) -> bytes:
    if address.version == 4:
        return _arp(mac, address.packed, address.packed)
    body = struct.pack("!BBHI", _ADVERTISEMENT, 0, 0, _OVERRIDE << 24) + address.packed
    body += bytes([_TARGET_MAC, 1]) + mac
    return _ipv6(b"\x33\x33\0\0\0\x01", mac, address.packed, _ALL_NODES.packed, body)


def _arp(mac: bytes, sender: bytes, target: bytes) -> bytes:
    body = _ARP.pack(1, 0x0800, 6, 4, _ARP_REQUEST, mac, sender, bytes(6), target)
    return _BROADCAST + mac + _ETH_P_ARP.to_bytes(2, "big") + body


def _ipv6(to: bytes, mac: bytes, source: bytes, destination: bytes, icmp: bytes) -> bytes:
    pseudo = source + destination + struct.pack("!II", len(icmp), _ICMPV6)
    words = struct.unpack(f"!{len(pseudo + icmp) // 2}H", pseudo + icmp)
    total: int = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    checked: bytes = icmp[:2] + (~total & 0xFFFF).to_bytes(2, "big") + icmp[4:]
    # Hop limit 255: a router would have taken one off (RFC 4861, 7.1).
    head = struct.pack("!IHBB", 6 << 28, len(icmp), _ICMPV6, 255) + source + destination
    return to + mac + _ETH_P_IPV6.to_bytes(2, "big") + head + checked
