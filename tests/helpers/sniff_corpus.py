"""One frame of every kind that a line is printed for, whole, cut short and wrong."""

from __future__ import annotations

import struct

from netkat.capture.packet import Packet
from tests.helpers.sniff_frames import (
    A4,
    A6,
    ACK,
    B4,
    B6,
    FA,
    MAC_A,
    MAC_B,
    MSS,
    NOP,
    PA,
    RA,
    SA,
    SACK_OK,
    WSCALE,
    R,
    S,
    arp,
    dns,
    ether,
    icmp4,
    icmp6,
    ip4,
    ip6,
    name,
    packed,
    sack,
    stamps,
    tcp,
    udp,
)

SYN = MSS + SACK_OK + stamps(1000, 0) + NOP + WSCALE
TS = NOP + NOP + stamps(1001, 2000)
START = 1_700_000_000_123_456_000


def t4(*numbers, **more) -> bytes:  # type: ignore[no-untyped-def]
    return ether(0x800, ip4(6, tcp(*numbers, **more)))


def r4(*numbers, **more) -> bytes:  # type: ignore[no-untyped-def]
    return ether(0x800, ip4(6, tcp(*numbers, source=B4, target=A4, **more), B4, A4))


def t6(*numbers, **more) -> bytes:  # type: ignore[no-untyped-def]
    return ether(0x86DD, ip6(6, tcp(*numbers, source=A6, target=B6, **more)))


def u4(sport: int, dport: int, payload: bytes, **more) -> bytes:  # type: ignore[no-untyped-def]
    return ether(0x800, ip4(17, udp(sport, dport, payload, **more)))


def u6(sport: int, dport: int, payload: bytes) -> bytes:
    return ether(0x86DD, ip6(17, udp(sport, dport, payload, source=A6, target=B6)))


def i4(*numbers) -> bytes:  # type: ignore[no-untyped-def]
    return ether(0x800, ip4(1, icmp4(*numbers)))


def i6(*numbers) -> bytes:  # type: ignore[no-untyped-def]
    return ether(0x86DD, ip6(58, icmp6(*numbers)))


q4 = ip4(17, udp(5000, 9, b"x" * 20))
qt = ip4(6, tcp(40000, 80, S, 7))
q6 = ip6(17, udp(5000, 9, b"x" * 20, source=A6, target=B6))
qt6 = ip6(6, tcp(40000, 80, S, 7, source=A6, target=B6))

FRAMES: dict[str, bytes] = {
    "tcp-1": t4(40000, 80, S, 1000, 0, options=SYN),
    "tcp-2": r4(80, 40000, SA, 5000, 1001, options=SYN),
    "tcp-3": t4(40000, 80, ACK, 1001, 5001, options=TS),
    "tcp-4": t4(40000, 80, PA, 1001, 5001, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", options=TS),
    "tcp-5": r4(80, 40000, PA, 5001, 1027, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "tcp-6": t4(40000, 80, ACK, 1027, 5001, options=NOP + NOP + sack((5100, 5200), (5300, 5400))),
    "tcp-7": r4(80, 40000, ACK, 5039, 1027, b"z" * 100),
    "tcp-8": t4(40000, 80, FA, 1027, 5139),
    "tcp-9": r4(80, 40000, RA, 5139, 1028),
    "tcp-10": r4(80, 40000, R, 5139, 0),
    "tcp-11": t4(40001, 9999, S | 0x40 | 0x80, 1, 0),
    "tcp-12": t4(40001, 9999, 0, 1, 0),
    "tcp-13": t4(40001, 9999, 0x38, 1, 5, b"hello", urgent=3),
    "tcp-14": t4(40001, 9999, PA, 1, 5, b"hello", bad_sum=True),
    "tcp-15": t4(40002, 9999, ACK, 77, 88, b"mid"),
    "tcp-16": r4(9999, 40002, ACK, 88, 80, b"reply"),
    "tcp-17": t4(1, 2, S, 1, 0, options=b"\xfd\x06\x12\x34\x56\x78"),
    "tcp-18": t4(1, 2, S, 1, 0, options=b"\x22\x02"),
    "tcp-19": t4(1, 2, S, 1, 0, options=b"\x22\x0a12345678"),
    "tcp-20": t4(1, 2, S, 1, 0, options=b"\x1c\x04\x80\x05"),
    "tcp-21": t4(1, 2, S, 1, 0, options=b"\x02\x0c\x01\x01"),
    "tcp-22": t4(1, 2, S, 1, 0, options=b"\x00\x00\x00\x00"),
    "tcp-23": t4(1, 2, S, 1, 0, options=b"\x13\x12" + bytes(range(16))),
    "tcp-24": t6(40000, 80, S, 1000, 0, options=SYN),
    "tcp-25": t6(40000, 443, PA, 1000, 3, b"x" * 10),
    "udp-1": u4(5000, 9, b"x" * 20),
    "udp-2": u4(5000, 9, b""),
    "udp-3": u4(5000, 9, b"abc", summed=False),
    "udp-4": u6(5000, 9, b"x" * 20),
    "dns-1": u4(5000, 53, dns(4660, 0x0100, [("example.com", 1)])),
    "dns-2": u4(
        53,
        5000,
        dns(4660, 0x8180, [("example.com", 1)], [("example.com", 1, 300, packed("93.184.216.34"))]),
    ),
    "dns-3": u6(5000, 53, dns(1, 0x0100, [("www.example.org", 28)])),
    "dns-4": u6(
        53,
        5000,
        dns(
            1,
            0x8580,
            [("www.example.org", 28)],
            [
                ("www.example.org", 5, 60, name("a.example.org")),
                ("a.example.org", 28, 60, packed("2001:db8::5")),
            ],
        ),
    ),
    "dns-5": u4(53, 5000, dns(2, 0x8183, [("nx.example", 1)], authority=0)),
    "dns-6": u4(53, 5000, dns(2, 0x8182, [("nx.example", 1)])),
    "dns-7": u4(
        53,
        5000,
        dns(
            3,
            0x8180,
            [("example.com", 15)],
            [("example.com", 15, 300, b"\0\x0a" + name("mx.example.com"))],
        ),
    ),
    "dns-8": u4(
        53, 5000, dns(3, 0x8180, [("example.com", 16)], [("example.com", 16, 300, b"\x05hello")])
    ),
    "dns-9": u4(
        53,
        5000,
        dns(
            3,
            0x8180,
            [("1.0.0.10.in-addr.arpa", 12)],
            [("1.0.0.10.in-addr.arpa", 12, 300, name("h.example"))],
        ),
    ),
    "dns-10": u4(
        5000,
        53,
        dns(9, 0x0100, [("example.com", 65)], additional=1, tail=b"\0\0\x29\x10\0\0\0\0\0\0\0"),
    ),
    "dns-11": u4(5000, 53, dns(9, 0x0120, [("_http._tcp.x", 33)])),
    "dns-12": u4(
        53,
        5000,
        dns(
            3,
            0x8180,
            [("_s._tcp.x", 33)],
            [("_s._tcp.x", 33, 300, b"\0\1\0\2\0\x50" + name("h.example"))],
        ),
    ),
    "dns-13": u4(53, 5000, dns(3, 0x8180, [("x", 2)], [("x", 2, 300, name("ns.x"))])),
    "dns-14": u4(
        53,
        5000,
        dns(3, 0x8180, [("x", 6)], [("x", 6, 300, name("ns.x") + name("root.x") + bytes(20))]),
    ),
    "dns-15": u4(5000, 53, b"\x12"),
    "dns-16": u4(5000, 53, b"garbage garbage garbage"),
    "dns-17": u4(5353, 5353, dns(0, 0, [("_http._tcp.local", 12)])),
    "udp-5": u4(
        68,
        67,
        b"\x01\x01\x06\x00"
        + bytes(24)
        + MAC_A
        + bytes(202)
        + bytes.fromhex("63825363")
        + b"\x35\x01\x01\xff"
        + bytes(60),
    ),
    "udp-6": u4(123, 123, bytes([0x23]) + bytes(47)),
    "icmp-1": i4(8, 0, b"\0\1\0\2", b"p" * 56),
    "icmp-2": i4(0, 0, b"\0\1\0\2", b"p" * 56),
    "icmp-3": i4(3, 3, bytes(4), q4),
    "icmp-4": i4(3, 3, bytes(4), qt),
    "icmp-5": i4(3, 1, bytes(4), q4),
    "icmp-6": i4(3, 0, bytes(4), q4),
    "icmp-7": i4(3, 2, bytes(4), q4),
    "icmp-8": i4(3, 4, b"\0\0\x05\x78", qt),
    "icmp-9": i4(3, 13, bytes(4), qt),
    "icmp-10": i4(3, 10, bytes(4), qt),
    "icmp-11": i4(3, 9, bytes(4), qt),
    "icmp-12": i4(11, 0, bytes(4), qt),
    "icmp-13": i4(11, 1, bytes(4), qt),
    "icmp-14": i4(5, 1, packed("10.0.0.254"), qt),
    "icmp-15": i4(5, 0, packed("10.0.0.254"), qt),
    "icmp-16": i4(12, 0, bytes(4), qt),
    "icmp-17": i4(13, 0, b"\0\1\0\2", bytes(12)),
    "icmp-18": i4(4, 0, bytes(4), qt),
    "icmp-19": i4(200, 0, bytes(4)),
    "icmp-20": i4(9, 0, bytes(4)),
    "icmp6-1": i6(128, 0, b"\0\1\0\2" + b"p" * 56),
    "icmp6-2": i6(129, 0, b"\0\1\0\2" + b"p" * 56),
    "icmp6-3": i6(135, 0, bytes(4) + packed("fe80::1") + b"\1\1" + MAC_A),
    "icmp6-4": i6(136, 0, b"\x60\0\0\0" + packed("fe80::1") + b"\2\1" + MAC_A),
    "icmp6-5": i6(133, 0, bytes(4)),
    "icmp6-6": i6(
        134, 0, b"\x40\0\x07\x08" + bytes(8) + b"\3\4\x40\xc0" + bytes(12) + packed("2001:db8::")
    ),
    "icmp6-7": i6(1, 4, bytes(4) + q6),
    "icmp6-8": i6(1, 4, bytes(4) + qt6),
    "icmp6-9": i6(1, 0, bytes(4) + q6),
    "icmp6-10": i6(1, 3, bytes(4) + q6),
    "icmp6-11": i6(1, 1, bytes(4) + q6),
    "icmp6-12": i6(2, 0, struct.pack("!I", 1280) + qt6),
    "icmp6-13": i6(3, 0, bytes(4) + qt6),
    "icmp6-14": i6(3, 1, bytes(4) + qt6),
    "icmp6-15": i6(4, 1, bytes(4) + qt6),
    "icmp6-16": i6(137, 0, bytes(4) + packed("fe80::1") + packed("fe80::2")),
    "icmp6-17": i6(143, 0, b"\0\0\0\1" + b"\4\0\0\0" + packed("ff02::1")),
    "icmp6-18": i6(130, 0, bytes(4) + bytes(16)),
    "icmp6-19": i6(131, 0, bytes(4) + packed("ff02::1")),
    "icmp6-20": i6(200, 0, bytes(4)),
    "icmp6-21": ether(
        0x86DD,
        ip6(
            0,
            bytes([58, 0, 5, 2, 0, 0, 1, 0])
            + icmp6(
                143,
                0,
                b"\0\0\0\1" + b"\4\0\0\0" + packed("ff02::1"),
                source="fe80::1",
                target="ff02::16",
            ),
            "fe80::1",
            "ff02::16",
            hops=1,
        ),
    ),
    "icmp6-22": i6(4, 0, struct.pack("!I", 4) + qt6),
    "arp-1": ether(0x806, arp(1)),
    "arp-2": ether(0x806, arp(2, target_mac=MAC_B)),
    "arp-3": ether(0x806, arp(1, A4, A4)),
    "arp-4": ether(0x806, arp(1, "0.0.0.0", B4)),
    "arp-5": ether(0x806, arp(1, target_mac=MAC_B)),
    "arp-6": ether(0x806, arp(3)),
    "arp-7": ether(0x806, arp(1) + bytes(18)),
    "arp-8": ether(0x806, arp(8)),
    "arp-9": ether(0x806, arp(1)[:20]),
    "fragment-1": ether(0x800, ip4(17, udp(5000, 9, b"x" * 1480)[:1480], flags=0x2000, ident=77)),
    "fragment-2": ether(0x800, ip4(17, b"x" * 200, flags=0x00B9, ident=77)),
    "fragment-3": ether(0x800, ip4(6, b"x" * 200, flags=0x20B9, ident=77)),
    "fragment-4": ether(0x800, ip4(99, b"x" * 200, flags=0x00B9, ident=77)),
    "fragment-5": ether(
        0x86DD, ip6(44, struct.pack("!BBHI", 17, 0, 1, 5) + udp(5000, 9, b"x" * 1440)[:1448])
    ),
    "fragment-6": ether(0x86DD, ip6(44, struct.pack("!BBHI", 17, 0, 1448, 5) + b"x" * 100)),
    "fragment-7": ether(0x86DD, ip6(44, struct.pack("!BBHI", 6, 0, 1449, 5) + b"x" * 100)),
    "ip-1": ether(0x800, ip4(17, udp(1, 9, b"x" * 20), tos=0xB8, options=b"\x94\x04\0\0")),
    "gre-1": ether(0x800, ip4(47, b"\0\0\x08\0" + ip4(1, icmp4(8, 0, b"\0\1\0\2", b"p" * 8)))),
    "gre-2": ether(0x800, ip4(47, b"\x20\0\x08\0\0\0\0\x05" + ip4(6, tcp(1, 2, S, 1)))),
    "gre-3": ether(
        0x800,
        ip4(
            47,
            b"\xb0\0\x65\x58\x12\x34\0\0\0\0\0\x05\0\0\0\7" + ether(0x800, ip4(6, tcp(1, 2, S, 1))),
        ),
    ),
    "gre-4": ether(0x800, ip4(47, b"\0\0\x86\xdd" + ip6(6, tcp(1, 2, S, 1)))),
    "udp-8": u4(5000, 9, b"a\rb\r\nc\nd\r\r\ne\tf\x0cg\r"),
    "udp-7": ether(0x800, ip4(17, struct.pack("!HHHH", 5000, 9, 200, 0) + b"x")),
    "vxlan-2": u4(5000, 8472, b"\x08\0\0\0\0\0\x64\0" + ether(0x800, ip4(6, tcp(1, 2, S, 1)))),
    "vxlan-1": u4(5000, 4789, b"\x08\0\0\0\0\0\x64\0" + ether(0x800, ip4(6, tcp(1, 2, S, 1)))),
    "geneve-1": u4(5000, 6081, b"\0\0\x65\x58\0\0\x64\0" + ether(0x800, ip4(6, tcp(1, 2, S, 1)))),
    "geneve-2": u4(
        5000, 6081, b"\x02\x40\x65\x58\0\0\x64\0" + b"\1\2\x80\1\0\0\0\7" + ether(0x806, arp(1))
    ),
    "geneve-3": u4(5000, 6081, b"\0\0\x08\0\0\0\x64\0" + ip4(6, tcp(1, 2, S, 1))),
    "ip-2": ether(0x800, ip4(4, ip4(6, tcp(1, 2, S, 1)))),
    "ip-3": ether(0x800, ip4(41, ip6(6, tcp(1, 2, S, 1, source=A6, target=B6)))),
    "ip-4": ether(0x86DD, ip6(41, ip6(6, tcp(1, 2, S, 1, source=A6, target=B6)))),
    "ip-5": ether(0x86DD, ip6(4, ip4(6, tcp(1, 2, S, 1)))),
    "ip-6": ether(0x800, ip4(50, b"\0\0\1\0\0\0\0\1" + b"x" * 40)),
    "ip-7": ether(0x800, ip4(2, b"\x11\x64\0\0\0\0\0\0")),
    "igmp-1": ether(0x800, ip4(2, b"\x11\x14\0\0" + packed("224.0.0.251"))),
    "ip-8": ether(0x800, ip4(2, b"\x16\0\0\0" + packed("224.0.0.251"))),
    "ip-9": ether(0x800, ip4(2, b"\x22\0\0\0\0\0\0\1" + b"\4\0\0\0" + packed("224.0.0.251"))),
    "ip-10": ether(0x800, ip4(132, b"\0\1\0\2" + bytes(20))),
    "ip-11": ether(0x800, ip4(253, b"x" * 30)),
    "ip-12": ether(0x800, ip4(112, b"\x21\1\x64\1\0\1" + bytes(14))),
    "ip-13": ether(0x800, ip4(89, bytes(44))),
    "ip-14": ether(0x86DD, ip6(59, b"")),
    "ip-15": ether(0x86DD, ip6(253, b"abc")),
    "vlan-1": ether(0x800, ip4(6, tcp(1, 2, S, 1)), tags=((0x8100, 5),)),
    "vlan-2": ether(0x800, ip4(6, tcp(1, 2, S, 1)), tags=((0x88A8, 7), (0x8100, 0x6005))),
    "vlan-3": ether(0x806, arp(1), tags=((0x8100, 100),)),
    "odd-1": ether(0x88B5, b"unknown ethertype payload"),
    "odd-2": ether(0x88CC, bytes(50)),
    "odd-3": ether(0x8847, b"\0\1\1\x40" + ip4(6, tcp(1, 2, S, 1))),
    "odd-4": ether(0x0026, b"\x42\x42\x03" + bytes(35) + bytes(8)),
    "odd-5": ether(0x8863, bytes(40)),
    "odd-6": ether(0x800, ip4(6, tcp(1, 2, S, 1)))[:40],
    "odd-7": ether(0x800, ip4(6, tcp(1, 2, S, 1)))[:30],
    "odd-8": ether(0x800, ip4(17, udp(1, 2, b"x")))[:38],
    "odd-9": ether(0x800, b""),
    "odd-10": ether(0x86DD, b"\x60"),
    "odd-11": ether(0x800, b"\x35" + bytes(30)),
    "odd-12": ether(0x800, b"\x44" + bytes(30)),
    "odd-13": b"\1\2\3",
    "odd-14": b"",
    "odd-15": bytes(14),
    "odd-16": ether(0x800, ip4(6, tcp(1, 2, S, 1), length=20)),
    "odd-17": ether(0x800, ip4(6, tcp(1, 2, S, 1), length=2000)),
    "odd-18": ether(0x800, ip4(6, tcp(1, 2, S, 1), length=10)),
    "odd-19": ether(0x86DD, ip6(6, b"abc")),
    "odd-20": ether(0x800, ip4(1, b"\3\3")),
    "odd-21": ether(0x86DD, ip6(58, b"\x87\0")),
    "odd-22": ether(0x800, ip4(6, tcp(1, 2, S, 1))) + bytes(6),
    "odd-23": ether(0x806, b"\0\1\x08\0"),
}


def packets(cut: int | None = None) -> list[tuple[str, Packet]]:
    """All of them a millisecond apart, at most ``cut`` bytes of each."""
    return [
        (name, Packet(START + number * 1_000_000, len(frame), frame[:cut], 1))
        for number, (name, frame) in enumerate(FRAMES.items())
        if frame
    ]
