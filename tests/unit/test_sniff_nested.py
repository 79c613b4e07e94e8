"""Headers within headers and files with unusual fields."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest

from netkat.capture import linktype as lt
from netkat.capture.capture_file import CaptureFile
from netkat.capture.capture_options import CaptureOptions
from netkat.capture.capture_writer import CaptureWriter
from netkat.capture.file_filter import FileFilter
from netkat.capture.packet import Packet
from netkat.capture.pcap import CaptureFileError, PcapFormat
from netkat.capture.pcapng import PcapngFormat
from netkat.capture.text.context import Style
from netkat.capture.text.printer import Printer
from netkat.errors import BadArgument
from tests.helpers.packets import ethernet, ip, udp

SPANNING_TREE = bytes.fromhex("424203") + bytes(35)
TCP = struct.pack("!HHIIHHHH", 40000, 443, 1, 0, 0x5002, 64240, 0, 0)
NO_MACS = bytes(12)


def body(
    data: bytes, linktype: int = lt.ETHERNET, length: int | None = None, *, link: bool = False
) -> str:
    packet = Packet(0, len(data) if length is None else length, data, linktype)
    return Printer(Style(numeric=True, link=link)).body(packet)


def write(path: Path, packets: list[Packet], linktype: int = lt.ETHERNET) -> None:
    writer = CaptureWriter(str(path), PcapFormat(linktype, 262144))
    writer.packets(packets)
    writer.close()


def test_ipv6_length_of_zero_prints_the_whole_payload() -> None:
    packet = bytearray(ip("2001:db8::1", "2001:db8::2", 6, TCP))
    packet[4:6] = bytes(2)
    frame = ethernet(bytes(packet), 0x86DD)
    assert "Flags [S]" in body(frame)
    inside = ethernet(ip("192.0.2.1", "192.0.2.2", 41, bytes(packet)), 0x0800)
    assert "Flags [S]" in body(inside)


@pytest.mark.parametrize("tags", ["", "81000005", "88a8000681000005"])
def test_llc_behind_vlan_tags_is_spanning_tree(tags: str) -> None:
    frame = NO_MACS + bytes.fromhex(tags) + struct.pack("!H", len(SPANNING_TREE)) + SPANNING_TREE
    assert body(frame.ljust(60, b"\0")) == "STP, length 35"


def test_llc_in_cooked_captures_is_spanning_tree() -> None:
    sll = struct.pack("!HHH8sH", 2, 1, 6, bytes(8), 4) + SPANNING_TREE
    sll2 = struct.pack("!HxxIHBB8s", 4, 2, 1, 2, 6, bytes(8)) + SPANNING_TREE
    assert body(sll, lt.LINUX_SLL) == "STP, length 35"
    assert body(sll2, lt.LINUX_SLL2).endswith("STP, length 35")


GENEVE = bytes.fromhex("000086dd00000500")

CUT = {
    "mpls": (NO_MACS + bytes.fromhex("8847 00064140 4500"), "MPLS (label 100, tc 0, [S], ttl 64)"),
    "vlan-e": (NO_MACS + bytes.fromhex("8100 0005 86dd 60"), "vlan 5, p 0"),
    "ip-in-ip": (
        ethernet(ip("192.0.2.1", "192.0.2.2", 4, b"\x45"), 0x0800),
        "192.0.2.1 > 192.0.2.2: ",
    ),
    "vxlan": (
        ethernet(ip("192.0.2.1", "192.0.2.2", 17, udp(1, 4789, bytes(4) + bytes(20))), 0x0800),
        "192.0.2.1.1 > 192.0.2.2.4789: VXLAN",
    ),
    "geneve": (
        ethernet(
            ip("192.0.2.1", "192.0.2.2", 17, udp(1, 6081, GENEVE + b"6")),
            0x0800,
        ),
        "192.0.2.1.1 > 192.0.2.2.6081: Geneve, Flags [none], vni 0x5",
    ),
}


@pytest.mark.parametrize("case", list(CUT))
def test_cut_inner_packet_keeps_the_outer_headers(case: str) -> None:
    data, outer = CUT[case]
    text = body(data, length=len(data) + 60, link=case.endswith("-e"))
    assert outer in text and "[|" in text


def test_upper_bits_of_a_link_type_are_ignored(tmp_path: Path) -> None:
    path, frame = tmp_path / "x.pcap", ethernet(ip("192.0.2.1", "192.0.2.2", 6, TCP), 0x0800)
    write(path, [Packet(0, len(frame), frame)])
    data = bytearray(path.read_bytes())
    data[20:24] = struct.pack("=I", 0xF7FF0001)
    path.write_bytes(data)
    with CaptureFile(str(path)) as file:
        assert [packet.raw for packet in file.packets] == [frame]
        assert file.linktype == lt.ETHERNET


def test_repeated_comments_are_kept_and_escaped(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    writer = CaptureWriter(str(path), PcapngFormat(262144))
    frame = ethernet(ip("192.0.2.1", "192.0.2.2", 6, TCP), 0x0800)
    writer.packets([Packet(0, len(frame), frame, comment="AAAA"), Packet(0, len(frame), frame)])
    writer.close()
    data = path.read_bytes()
    # The comment's option becomes two of two bytes each.
    old = struct.pack("=HH4s", 1, 4, b"AAAA")
    at = data.index(old)
    start = data.rindex(struct.pack("=I", 6), 0, at)
    (total,) = struct.unpack_from("=I", data, start + 4)
    two = struct.pack("=HH4s", 1, 2, b"no\0\0") + struct.pack("=HH4s", 1, 3, b"\x1b[2\0")
    block = bytearray(data[start : start + total].replace(old, two))
    block[4:8] = block[-4:] = struct.pack("=I", total + 8)
    path.write_bytes(data[:start] + block + data[start + total :])
    with CaptureFile(str(path)) as file:
        first, _ = file.packets
    assert first.comment == "no\n\x1b[2"
    assert Printer(Style(numeric=True, verbose=1)).line(first).endswith("\n\tno\n\t\\x1b[2")


@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
def test_gzip_file_has_the_same_packets(kind: str, tmp_path: Path) -> None:
    frame = ethernet(ip("192.0.2.1", "192.0.2.2", 6, TCP), 0x0800)
    packets = [Packet(n * 1000, len(frame), frame) for n in range(2000)]
    path, packed = tmp_path / f"x.{kind}", tmp_path / f"x.{kind}.gz"
    writer = CaptureWriter(
        str(path), PcapFormat(1, 262144) if kind == "pcap" else PcapngFormat(262144)
    )
    writer.packets(packets)
    writer.close()
    packed.write_bytes(gzip.compress(path.read_bytes()))
    with CaptureFile(str(path)) as plain, CaptureFile(str(packed)) as file:
        assert list(file.packets) == list(plain.packets)
    packed.write_bytes(packed.read_bytes()[:-200])
    with CaptureFile(str(packed)) as file, pytest.raises(CaptureFileError, match="ends early"):
        list(file.packets)


def test_interface_name_of_a_file_is_escaped() -> None:
    packet = Packet(
        0, 54, ethernet(ip("192.0.2.1", "192.0.2.2", 6, TCP), 0x0800), interface="\x1b[2J"
    )
    assert Printer(Style(numeric=True, interface=True)).line(packet).startswith("\\x1b[2J")


@pytest.mark.parametrize("expression", ["inbound", "tcp and outbound"])
def test_direction_in_the_filter_of_an_ethernet_file_is_rejected(expression: str) -> None:
    with pytest.raises(BadArgument, match="not supported in files of link type EN10MB") as caught:
        FileFilter(CaptureOptions(filter_text=expression), lt.ETHERNET)
    assert "-Q in" in str(caught.value.hint)


def test_direction_in_the_filter_of_a_cooked_file_is_applied() -> None:
    packets = [
        Packet(0, 22, struct.pack("!HHH8sH", kind, 1, 6, bytes(8), 0x0806) + bytes(6), lt.LINUX_SLL)
        for kind in (0, 4)
    ]
    outgoing = FileFilter(CaptureOptions(filter_text="outbound"), lt.LINUX_SLL)
    assert list(outgoing.apply(packets)) == packets[1:]
