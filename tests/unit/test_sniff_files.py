"""Capture files: every one of ours read by tshark and tcpdump, every one of theirs read by us."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netkat.capture.capture_file import CaptureFile
from netkat.capture.capture_options import CaptureOptions
from netkat.capture.capture_writer import CaptureWriter, WriteFailed
from netkat.capture.file_filter import FileFilter
from netkat.capture.packet import Packet
from netkat.capture.pcap import CaptureFileError, PcapFormat, PcapReader
from netkat.capture.pcapng import InterfaceCounts, PcapngFormat
from netkat.errors import BadArgument
from tests.helpers.sniff_corpus import packets


def corpus() -> list[Packet]:
    """Every frame, of two interfaces and both directions, some with a comment."""
    found = [packet for _, packet in packets()]
    for number, packet in enumerate(found):
        packet.time_ns += number % 1000
        packet.interface = "eth0" if number % 3 else "veth-long-name"
        packet.direction = ("in", "out", "")[number % 3]
        packet.comment = f"number {number}, ü" if number % 10 == 0 else ""
    return found


def write(path: Path, packets: list[Packet], **more: Any) -> None:
    form = (
        PcapngFormat(262144, **more) if path.suffix == ".pcapng" else PcapFormat(1, 262144, **more)
    )
    writer = CaptureWriter(str(path), form)
    writer.packets(packets)
    writer.close()


def tshark(path: Path) -> list[dict[str, Any]]:
    said = subprocess.run(
        ["tshark", "-n", "-r", str(path), "-T", "json"], capture_output=True, check=True
    ).stdout
    # tshark repeats keys of one object, which is no JSON that keeps them all.
    return [one["_source"]["layers"] for one in json.loads(said)]


def read(path: Path) -> list[Packet]:
    with CaptureFile(str(path)) as file:
        return list(file.packets)


@pytest.mark.parametrize("name", ["x.pcap", "nano.pcap", "x.pcapng"])
def test_tshark_reads_each_field_as_we_wrote_it(name: str, tmp_path: Path) -> None:
    path, wanted = tmp_path / name, corpus()
    more = {"nanoseconds": True} if name == "nano.pcap" else {}
    write(path, wanted, **more)
    seen = tshark(path)
    assert len(seen) == len(wanted)
    for layers, packet in zip(seen, wanted, strict=True):
        frame = layers["frame"]
        assert int(frame["frame.len"]) == packet.length
        assert int(frame["frame.cap_len"]) == len(packet.raw)
        unit = 1000 if name == "x.pcap" else 1
        seconds, _, fraction = frame["frame.time_epoch"].partition(".")
        assert int(seconds + fraction.ljust(9, "0")) == packet.time_ns // unit * unit
        if path.suffix == ".pcapng":
            description = frame["frame.interface_id_tree"]
            assert description["frame.interface_name"] == packet.interface
    if path.suffix == ".pcapng":
        said = subprocess.run(
            ["tshark", "-r", str(path), "-T", "fields", "-e", "frame.packet_flags_direction",
             "-e", "pkt_comment", "-e", "frame.comment"],
            capture_output=True, text=True, check=True,
        ).stdout.split("\n")[:-1]  # fmt: skip
        for line, packet in zip(said, wanted, strict=True):
            direction, comment = line.split("\t")[0], line.split("\t")[2]
            assert {"": "", "0x00000001": "in", "0x00000002": "out"}[direction] == packet.direction
            assert comment == packet.comment


@pytest.mark.parametrize("name", ["x.pcap", "x.pcapng"])
def test_layers_are_what_tshark_sees(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path, corpus())
    for layers, packet in zip(tshark(path), read(path), strict=True):
        ours = dict(reversed([(n, f) for n, f in packet.layers]))  # the outermost of each name
        if "malformed" in ours or "_ws.malformed" in layers:
            continue
        if "ipv4" in ours and "ip" in layers and ours["ipv4"]["len"] >= 20:
            assert layers["ip"]["ip.src"] == ours["ipv4"]["src"]
            assert layers["ip"]["ip.dst"] == ours["ipv4"]["dst"]
            assert int(layers["ip"]["ip.ttl"]) == ours["ipv4"]["ttl"]
        if "tcp" in ours and "tcp" in layers:
            assert int(layers["tcp"]["tcp.srcport"]) == ours["tcp"]["sport"]
            assert int(layers["tcp"]["tcp.dstport"]) == ours["tcp"]["dport"]
            assert int(layers["tcp"]["tcp.seq_raw"]) == ours["tcp"]["seq"]
            assert int(layers["tcp"]["tcp.ack_raw"]) == ours["tcp"]["ack"]
        if "udp" in ours and "udp" in layers:
            assert int(layers["udp"]["udp.dstport"]) == ours["udp"]["dport"]
        if "arp" in ours and "arp" in layers:
            assert int(layers["arp"]["arp.opcode"]) == ours["arp"]["op"]
            assert layers["arp"]["arp.src.proto_ipv4"] == ours["arp"]["spa"]
        if "dns" in ours and "dns" in layers:
            assert int(layers["dns"]["dns.id"], 16) == ours["dns"]["id"]


def test_layers_of_each_kind() -> None:
    kinds = {name.split("-")[0]: set[str]() for name, _ in packets()}
    for name, packet in packets():
        kinds[name.split("-")[0]] |= {layer for layer, _ in packet.layers}
    for kind in ("tcp", "udp", "dns", "icmp", "icmp6", "arp", "vlan", "vxlan", "geneve", "gre"):
        assert kind in kinds[kind], (kind, kinds[kind])


@pytest.mark.parametrize("name", ["x.pcap", "x.pcapng"])
def test_tcpdump_reads_what_we_wrote(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    wanted = corpus()
    write(path, wanted)
    done = subprocess.run(["tcpdump", "-nr", str(path)], capture_output=True, check=True)
    assert done.stdout.count(b"\n") >= len(wanted)
    assert b"truncated dump file" not in done.stderr


@pytest.mark.parametrize("kind", ["pcap", "nsecpcap", "pcapng"])
def test_we_read_what_tshark_wrote(kind: str, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "x.pcapng", tmp_path / f"theirs.{kind}"
    wanted = corpus()
    write(ours, wanted)
    subprocess.run(
        ["tshark", "-r", ours, "-F", kind, "-w", theirs], check=True, capture_output=True
    )
    unit = 1000 if kind == "pcap" else 1
    got = read(theirs)
    assert [(p.raw, p.length, p.time_ns) for p in got] == [
        (p.raw, p.length, p.time_ns // unit * unit) for p in wanted
    ]
    if kind == "pcapng":
        assert [(p.interface, p.direction, p.comment) for p in got] == [
            (p.interface, p.direction, p.comment) for p in wanted
        ]


@pytest.mark.parametrize("precision", ["--micro", "--nano"])
def test_we_read_what_tcpdump_wrote(precision: str, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "x.pcap", tmp_path / "theirs.pcap"
    wanted = corpus()
    write(ours, wanted, nanoseconds=True)
    subprocess.run(
        ["tcpdump", precision, "-r", ours, "-w", theirs], check=True, capture_output=True
    )
    unit = 1000 if precision == "--micro" else 1
    assert [(p.raw, p.length, p.time_ns) for p in read(theirs)] == [
        (p.raw, p.length, p.time_ns // unit * unit) for p in wanted
    ]


@pytest.mark.parametrize("name", ["x.pcap", "x.pcapng"])
@pytest.mark.parametrize("kept", [0, 96, 262144])
def test_what_a_file_is_said_to_be(name: str, kept: int, tmp_path: Path) -> None:
    path = str(tmp_path / name)
    form = PcapngFormat(kept) if name == "x.pcapng" else PcapFormat(1, kept)
    writer = CaptureWriter(path, form)
    writer.packets(corpus()[:1])
    writer.close()
    theirs = subprocess.run(["tcpdump", "-r", path], capture_output=True, text=True, check=True)
    ours = subprocess.run(
        [sys.executable, "-m", "netkat", "sniff", "-r", path], capture_output=True, text=True
    )
    assert (ours.stderr, ours.returncode) == (theirs.stderr, 0)


def test_the_other_byte_order() -> None:
    import struct

    wanted = corpus()[:5]
    data = struct.pack(">IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for packet in wanted:
        seconds, rest = divmod(packet.time_ns, 10**9)
        data += struct.pack(">4I", seconds, rest // 1000, len(packet.raw), packet.length)
        data += packet.raw
    file = io.BytesIO(data)
    assert [p.raw for p in PcapReader(file, file.read(4))] == [p.raw for p in wanted]


def test_counts_and_filter_stand_in_a_pcapng_file(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    write(
        path, corpus(), filter_text="tcp port 80",
        counts=lambda: {"eth0": InterfaceCounts(1234, 56)}, start_ns=1_700_000_000_000_000_000,
    )  # fmt: skip
    said = subprocess.run(
        ["tshark", "-r", path, "-q", "-z", "io,stat,0"], capture_output=True, check=True
    )
    assert said.returncode == 0
    info = subprocess.run(["capinfos", path], capture_output=True, text=True, check=True).stdout
    assert "tcp port 80" in info and "veth-long-name" in info and "nanoseconds" in info
    blocks = dict(reversed(list(pcapng_blocks(path.read_bytes()))))
    assert (1234).to_bytes(8, "little") in blocks[5] and (56).to_bytes(8, "little") in blocks[5]


def test_what_netkat_sent_is_said_in_a_pcapng_file(tmp_path: Path) -> None:
    path, wanted = tmp_path / "x.pcapng", corpus()[:20]
    for packet in wanted:
        packet.sent_by_netkat = packet.direction == "out"
    write(path, wanted)
    assert [(p.sent_by_netkat, p.comment) for p in read(path)] == [
        (p.sent_by_netkat, p.comment) for p in wanted
    ]
    said = subprocess.run(
        ["tshark", "-n", "-r", path, "-Y", 'frame.comment == "sent by netkat"', "-T", "fields",
         "-e", "frame.number"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    ours = [str(number) for number, packet in enumerate(wanted, 1) if packet.sent_by_netkat]
    assert said.stdout.split() == ours


def pcapng_blocks(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        kind, length = (int.from_bytes(data[at + n : at + n + 4], "little") for n in (0, 4))
        yield kind, data[at : at + length]
        at += length


def test_selection_by_filter_direction_and_length() -> None:
    chosen = FileFilter(CaptureOptions(filter_text="udp port 53", direction="in", snaplen=50), 1)
    found = list(chosen.apply(corpus()))
    assert found
    assert {packet.direction for packet in found} <= {"in", ""}
    assert {len(packet.raw) for packet in found} == {50}
    with pytest.raises(BadArgument):
        FileFilter(CaptureOptions(filter_text="udp prot 53"), 1)


@pytest.mark.parametrize("name", ["x.pcap", "x.pcapng"])
def test_a_torn_file_gives_what_is_whole(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    wanted = corpus()
    write(path, wanted)
    data = path.read_bytes()
    seen = set()
    for size in range(len(data) - 1, len(data) - 400, -7):
        path.write_bytes(data[:size])
        got: list[Packet] = []
        with contextlib.suppress(CaptureFileError), CaptureFile(str(path)) as file:
            got.extend(file.packets)
        assert got == [
            Packet(g.time_ns, w.length, w.raw, 1, g.interface, g.direction, 0, g.comment)
            for g, w in zip(got, wanted, strict=False)
        ]
        seen.add(len(got))
    assert len(seen) > 1 and max(seen) < len(wanted) + 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty file"),
        (b"root:x:0:0", "not a capture file"),
        (b"\x1f\x8b\x08\0\0\0", "ends early"),
        (b"\x28\xb5\x2f\xfd", "not a capture file"),
        (b"\xd4\xc3\xb2\xa1", "ends after its first four bytes"),
        (b"\xd4\xc3\xb2\xa1\x02", "in the middle of its header"),
        (b"\xd4\xc3\xb2\xa1\x09\0\x04\0" + bytes(16), "version 9.4"),
        (b"\n\r\r\n" + bytes(24), "byte-order magic"),
        (b"\n\r\r\n\x1c\0\0\0\x4d\x3c\x2b\x1a\x02\0\0\0" + bytes(12), "version 2.0"),
    ],
)
def test_no_capture_file_is_one_clear_line(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(CaptureFileError) as caught:
        read(path)
    assert words in f"{caught.value} {caught.value.hint}"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["x.pcap", "x.pcapng"])
def test_a_write_that_tears_leaves_whole_packets(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk takes the first part of a write and refuses the rest."""
    path, wanted = tmp_path / name, corpus()
    form = PcapngFormat(262144) if name.endswith("ng") else PcapFormat(1, 262144)
    writer = CaptureWriter(str(path), form)
    real, room = os.write, 3333

    def scarce(descriptor: int, data: memoryview) -> int:
        nonlocal room
        if room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = real(descriptor, data[:room])
        room -= done
        return done

    monkeypatch.setattr(os, "write", scarce)
    with pytest.raises(WriteFailed, match="No space left") as caught:
        writer.packets(wanted)
    assert caught.value.hint == "packets written before the error are kept"
    writer.close()
    got = read(path)
    assert 5 < len(got) < len(wanted)
    assert writer.written == len(got)
    assert [p.raw for p in got] == [p.raw for p in wanted[: len(got)]]
    assert len(tshark(path)) == len(got)


def test_two_link_types_need_pcapng(tmp_path: Path) -> None:
    two = corpus()[:2]
    two[1].linktype = 101
    with pytest.raises(BadArgument, match="one link type") as caught:
        write(tmp_path / "x.pcap", two)
    assert "pcapng" in str(caught.value.hint)
    write(tmp_path / "x.pcapng", two)
    assert [p.linktype for p in read(tmp_path / "x.pcapng")] == [1, 101]
