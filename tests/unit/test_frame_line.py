"""Frames as lines, against the real tcpdump's own words for the same bytes."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netkat.capture.frame_line import frame_line
from tests.helpers import packets
from tests.helpers.packets import (
    ACK,
    ARP,
    FIN,
    ICMP,
    ICMPV6,
    IPV4,
    IPV6,
    MAC_A,
    PSH,
    RST,
    SYN,
    TCP,
    UDP,
    ethernet,
    icmp,
    ip,
    neighbor,
    tcp,
    udp,
)

NOW = 1700000000.25
ENDS = {4: ("10.9.0.1", "10.9.0.2"), 6: ("fd00::1", "fd00::2")}
TYPE = {4: IPV4, 6: IPV6}
SYN_OPTIONS = bytes.fromhex("020405b40402080a00000001000000000103030a")
STAMPS = bytes.fromhex("0101080a0000000200000003")
SACK = bytes.fromhex("0101050a") + struct.pack(">II", 901, 1001)


def handshake(version: int) -> list[bytes]:
    """SYN to FIN with options and data, a SACK, then a RST; our sequence numbers begin at 100."""
    a, b = ENDS[version]

    def ours(seq: int, ack: int, flags: int, payload: bytes = b"", options: bytes = b"") -> bytes:
        body = tcp(40000, 6543, payload, seq=seq, ack=ack, flags=flags, options=options)
        return ethernet(ip(a, b, TCP, body), TYPE[version])

    def theirs(seq: int, ack: int, flags: int, payload: bytes = b"", options: bytes = b"") -> bytes:
        body = tcp(6543, 40000, payload, seq=seq, ack=ack, flags=flags, options=options)
        return ethernet(ip(b, a, TCP, body), TYPE[version])

    return [
        ours(100, 0, SYN, options=SYN_OPTIONS),
        theirs(900, 101, SYN | ACK, options=SYN_OPTIONS),
        ours(101, 901, ACK, options=STAMPS),
        ours(101, 901, PSH | ACK, b"x" * 300, STAMPS),
        theirs(901, 401, ACK, b"y" * 1000, STAMPS),
        ours(401, 901, ACK, options=SACK),
        theirs(1901, 401, FIN | ACK),
        ours(401, 1902, FIN | ACK),
        theirs(1902, 402, RST),
        theirs(1902, 0, RST | ACK),
        ours(1, 2, ACK | packets.URG),
        ours(1, 2, ACK | packets.ECE | packets.CWR),
    ]


def others(version: int) -> list[bytes]:
    a, b = ENDS[version]
    quoted = ip(a, b, UDP, udp(40000, 6543, b"question"))
    made = [ip(a, b, UDP, udp(40000, 6543, b"x" * 20)), ip(a, b, UDP, udp(40000, 6543))]
    if version == 4:
        too_large = ip(a, b, TCP, tcp(40000, 6543, b"z" * 1400, flags=ACK), dont=1)
        made += [
            ip(b, a, ICMP, icmp(3, 3, quoted)),
            ip(b, a, ICMP, icmp(3, 1, quoted)),
            ip(b, a, ICMP, icmp(3, 13, quoted)),
            ip(b, a, ICMP, icmp(3, 4, too_large[:28], rest=b"\0\0\x05\x14")),
            ip(b, a, ICMP, icmp(11, 0, quoted)),
            ip(b, a, ICMP, icmp(8, 0, b"ping", rest=bytes([0, 7, 0, 1]))),
            ip(a, b, UDP, bytes(1480), offset=1480, more=1),
            ip(a, b, UDP, udp(40000, 6543, bytes(1472)), more=1),
        ]
    else:
        mac = bytes([1, 1]) + MAC_A
        made += [
            ip(b, a, ICMPV6, icmp(1, 4, quoted)),
            ip(b, a, ICMPV6, icmp(1, 1, quoted)),
            ip(b, a, ICMPV6, icmp(2, 0, quoted, rest=bytes([0, 0, 5, 0]))),
            ip(b, a, ICMPV6, icmp(3, 0, quoted)),
            ip(a, "ff02::1:ff00:2", ICMPV6, neighbor(135, b, flags=0, options=mac), ttl=255),
            ip(b, a, ICMPV6, neighbor(136, b, options=b"\2" + mac[1:]), ttl=255),
            packets.ipv6_extended(a, b, [packets.fragment_header(1448)], UDP, bytes(100)),
        ]
    return [ethernet(packet, TYPE[version]) for packet in made]


def arps() -> list[bytes]:
    a, b = ENDS[4]
    asked = packets.arp(1, a, b, target_mac=bytes(6))
    return [
        ethernet(asked, ARP, destination=b"\xff" * 6),
        ethernet(packets.arp(2, b, a), ARP),
        ethernet(asked + bytes(18), ARP),
    ]


def lines(frames: list[bytes], **options: object) -> list[str]:
    given: dict[str, object] = {"ethernet": True, "time": NOW, "outgoing": True, **options}
    return [frame_line(frame, **given) for frame in frames]  # type: ignore[arg-type]


def tcpdump(frames: list[bytes], folder: Path, linktype: int = 1) -> list[str]:
    """Its lines for the same frames, from a capture file made by hand."""
    records = [
        struct.pack("=IIII", int(NOW), int(NOW % 1 * 1e6), len(frame), len(frame)) + frame
        for frame in frames
    ]
    head = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, linktype)
    path = folder / "made.pcap"
    path.write_bytes(head + b"".join(records))
    # As root it would give up its rights, and with them the file.
    argv = ["tcpdump", "-n", "-r", str(path)] + (["-Z", "root"] if os.geteuid() == 0 else [])
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.splitlines()


def without_quotes(line: str) -> str:
    """tcpdump shows quoted packets with -v alone."""
    return line.partition(" [quotes ")[0]


@pytest.mark.parametrize("version", [4, 6])
def test_a_connection_reads_as_tcpdump_has_it(version: int, tmp_path: Path) -> None:
    frames = handshake(version)
    ours = lines(frames)
    assert ours == tcpdump(frames, tmp_path)
    assert re.fullmatch(
        r"\d\d:\d\d:20\.250000 IP6? \S+\.40000 > \S+\.6543: Flags \[S\], seq 100, win 64240,"
        r" options \[mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 10\], length 0",
        ours[0],
    )


@pytest.mark.parametrize("version", [4, 6])
def test_datagrams_errors_fragments_and_neighbours(version: int, tmp_path: Path) -> None:
    frames = others(version)
    assert [without_quotes(line) for line in lines(frames)] == tcpdump(frames, tmp_path)


def test_arp(tmp_path: Path) -> None:
    assert lines(arps()) == tcpdump(arps(), tmp_path)


@pytest.mark.parametrize("version", [4, 6])
def test_a_link_without_header(version: int, tmp_path: Path) -> None:
    bare = [frame[14:] for frame in handshake(version)]
    assert lines(bare, ethernet=False) == tcpdump(bare, tmp_path, linktype=101)


def test_a_vlan_tag(tmp_path: Path) -> None:
    tagged = [frame[:12] + bytes.fromhex("81000005") + frame[12:] for frame in others(4)]
    shown = lines(tagged)
    assert [without_quotes(line) for line in shown] == tcpdump(tagged, tmp_path)
    assert shown == lines(others(4)), "errors quote in tagged frames too"


@pytest.mark.parametrize("version", [4, 6])
def test_a_super_frame_has_its_total_length(version: int, tmp_path: Path) -> None:
    a, b = ENDS[version]
    frame = ethernet(ip(a, b, TCP, tcp(1, 2, bytes(60000), flags=SYN)), TYPE[version])
    (line,) = lines([frame])
    assert line.endswith("length 60000")
    assert [line] == tcpdump([frame], tmp_path)


@pytest.mark.parametrize("version", [4, 6])
def test_errors_tell_which_packet_they_are_about(version: int) -> None:
    a, b = ENDS[version]
    name = "IP" if version == 4 else "IP6"
    kind, protocol = (11, ICMP) if version == 4 else (3, ICMPV6)
    question = ip(a, b, TCP, tcp(40000, 6543, seq=5))
    (line,) = lines([ethernet(ip(b, a, protocol, icmp(kind, 0, question)), TYPE[version])])
    wanted = f" [quotes {name} {a}.40000 > {b}.6543: Flags [S], seq 5, win 64240, length 0]"
    assert line.endswith(wanted)
    # A router may quote eight bytes of the transport header and no more (RFC 792).
    short = question[: (20 if version == 4 else 40) + 8]
    (line,) = lines([ethernet(ip(b, a, protocol, icmp(kind, 0, short)), TYPE[version])])
    assert f"[quotes {name} {a}.40000 > {b}.6543:" in line


def test_a_quoted_syn_does_not_begin_its_connection_anew() -> None:
    frames = handshake(4)
    before = lines(frames[:6])
    quoted = ethernet(ip("192.0.2.1", "10.9.0.1", ICMP, icmp(11, 0, frames[0][14:])), IPV4)
    lines([quoted])
    assert lines([frames[5]])[0] == before[5]


def test_the_interface_and_the_direction_stand_in_front() -> None:
    frame = handshake(4)[0]
    outgoing = frame_line(frame, ethernet=True, time=NOW, outgoing=True, interface="eth0")
    incoming = frame_line(frame, ethernet=True, time=NOW, outgoing=False, interface="eth0")
    assert " eth0  Out IP 10.9.0.1.40000 > " in outgoing
    assert " eth0  In  IP 10.9.0.1.40000 > " in incoming


EVERY_KIND = [*handshake(4), *handshake(6), *others(4), *others(6), *arps()]


@pytest.mark.parametrize("cut_at_most", [400])
def test_cut_short_anywhere(cut_at_most: int) -> None:
    for frame in EVERY_KIND:
        for length in range(min(len(frame), cut_at_most)):
            for line in lines([frame[:length]]) + lines([frame[14:length]], ethernet=False):
                assert line
                assert line.isprintable()


@settings(max_examples=1500, deadline=None)
@given(st.data(), st.booleans())
def test_hostile_bytes(data: st.DataObject, link: bool) -> None:
    """Good frames with bytes overwritten anywhere, and bytes of no kind."""
    frame = bytearray(data.draw(st.sampled_from(EVERY_KIND)))
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, min(len(frame), 120) - 1))
        frame[place] = data.draw(st.integers(0, 255))
    noise = data.draw(st.binary(max_size=80))
    for given_ in (bytes(frame), bytes(frame[:14]) + noise, noise):
        (line,) = lines([given_], ethernet=link, interface="e0")
        assert line.isprintable()
