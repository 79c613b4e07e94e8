"""ARP and neighbour discovery made by hand."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

from netkat.flow import IPAddress
from tests.stack.frames import ARP, ICMP6, IP6, UNVOUCHED, Alone, ethernet, ip, transport

REQUEST, REPLY = 1, 2
BROADCAST = b"\xff" * 6
SOLICITED, OVERRIDE = 0x40, 0x20


def arp(kind: int, mac: bytes, sender: IPAddress, target: IPAddress, to: bytes) -> bytes:
    """A frame with an ARP packet of ``sender``, which is at ``mac``."""
    target_mac = bytes(6) if kind == REQUEST else to
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, kind) + mac + sender.packed
    return ethernet(to, mac, body + target_mac + target.packed, ARP)


def advert(mac: bytes, target: IPAddress, flags: int, to: IPAddress, to_mac: bytes) -> bytes:
    """A frame with a neighbour advertisement: ``target`` is at ``mac``."""
    raw = struct.pack("!BBHI", 136, 0, 0, flags << 24) + target.packed + b"\x02\x01" + mac
    return ethernet(to_mac, mac, ip(target, to, ICMP6, transport(target, to, ICMP6, raw), 255), IP6)


def solicit(mac: bytes, source: IPAddress, target: IPAddress) -> bytes:
    """A frame with a neighbour solicitation to the solicited-node address of ``target``."""
    low = target.packed[-3:]
    group = ip_address(bytes.fromhex("ff0200000000000000000001ff") + low)
    raw = struct.pack("!BBHI", 135, 0, 0, 0) + target.packed + b"\x01\x01" + mac
    packet = ip(source, group, ICMP6, transport(source, group, ICMP6, raw), 255)
    return ethernet(b"\x33\x33\xff" + low, mac, packet, IP6)


def question(frame: bytes) -> IPAddress | None:
    """The address that a frame asks the MAC of; None for any other frame."""
    if frame[12:14] == b"\x08\x06" and frame[21] == REQUEST:
        return IPv4Address(frame[38:42])
    if frame[12:14] == b"\x86\xdd" and frame[20] == ICMP6 and frame[54] == 135:
        return IPv6Address(frame[62:78])
    return None


def answer(alone: Alone, address: IPAddress, mac: bytes) -> None:
    """Answer a request for the MAC of an address, as its owner would."""
    own = alone.host.addresses[address.version]
    if address.version == 4:
        frame = arp(REPLY, mac, address, own, alone.host.mac)
    else:
        frame = advert(mac, address, SOLICITED | OVERRIDE, own, alone.host.mac)
    arrive(alone, frame)


def announce(alone: Alone, address: IPAddress, mac: bytes, kind: int = REQUEST) -> None:
    """Announce an address at another MAC (IPv4: gratuitous ARP; IPv6: unsolicited)."""
    if address.version == 4:
        frame = arp(kind, mac, address, address, BROADCAST)
    else:
        nodes = ip_address("ff02::1")
        frame = advert(mac, address, OVERRIDE, nodes, bytes.fromhex("333300000001"))
    arrive(alone, frame)


def arrive(alone: Alone, frame: bytes) -> None:
    """Have a frame arrive, and taken."""
    before = alone.stack.statistics().frames_in
    alone.wire.put(UNVOUCHED + frame)
    alone.taken(before)
