"""Rotation of capture files by size and time (-C, -G, -W)."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from netkat.capture.capture_file import CaptureFile
from netkat.capture.capture_writer import CaptureWriter, LastFileWritten, Rotation
from netkat.capture.packet import Packet
from netkat.capture.pcap import PcapFormat
from netkat.wire.ring import BLOCK, Block
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


def read(path: Path) -> list[Packet]:
    with CaptureFile(str(path)) as file:
        return list(file.packets)


def test_rotation_by_size(tmp_path: Path) -> None:
    wanted = corpus()
    writer = CaptureWriter(str(tmp_path / "x.pcap"), PcapFormat(1, 262144), Rotation(size=2000))
    writer.packets(wanted)
    writer.close()
    files = ["x.pcap", *(f"x.pcap{n}" for n in range(1, len(os.listdir(tmp_path))))]
    assert len(files) > 3
    got = [packet for name in files for packet in read(tmp_path / name)]
    assert [p.raw for p in got] == [p.raw for p in wanted]


def test_rotation_as_a_ring(tmp_path: Path) -> None:
    rotation = Rotation(size=1000, files=11)
    writer = CaptureWriter(str(tmp_path / "x.pcap"), PcapFormat(1, 262144), rotation)
    writer.packets(corpus())
    writer.close()
    assert sorted(os.listdir(tmp_path)) == [f"x.pcap{n:02}" for n in range(11)]
    assert sum(len(read(tmp_path / name)) for name in os.listdir(tmp_path)) < len(corpus())


def with_seconds(form: str, when: time.struct_time) -> str:
    return form.replace("%s", str(int(time.mktime(when))))


def test_rotation_by_time_and_size_keeps_the_period(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_700_000_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(time, "strftime", with_seconds)
    rotation = Rotation(size=200, seconds=10)
    writer = CaptureWriter(str(tmp_path / "%s.pcap"), PcapFormat(1, 262144), rotation)
    packet = Packet(0, 150, bytes(150))
    for _ in range(6):
        writer.packets([packet])
        now += 3
    writer.close()
    # Files of size 200 hold two packets; the second period begins with the fifth packet.
    assert {name: len(read(tmp_path / name)) for name in os.listdir(tmp_path)} == {
        "1700000000.pcap": 2, "1700000000.pcap1": 2, "1700000012.pcap": 2,
    }  # fmt: skip


def test_rotation_by_size_copies_blocks_until_the_file_is_nearly_full(tmp_path: Path) -> None:
    class Whole(PcapFormat):
        def block(self, block: Block, interface: str, linktype: int) -> memoryview:
            return memoryview(self.packets([packet]))

    packet, path = Packet(0, 1000, bytes(1000)), str(tmp_path / "x.pcap")
    block = cast(Block, SimpleNamespace(count=1))
    writer = CaptureWriter(path, Whole(1, 262144), Rotation(size=BLOCK + 5000))
    copied = 0
    while writer.block(block, "eth0", 1):
        copied += 1
    assert copied == 5, "packets() takes over one block before the limit"
    writer.packets([packet] * (BLOCK // 1016 + 3))
    writer.close()
    sizes = [os.path.getsize(tmp_path / name) for name in ("x.pcap", "x.pcap1")]
    assert BLOCK + 5000 < sizes[0] <= BLOCK + 5000 + 1016 and sizes[1] > 24


def test_rotation_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_700_000_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(time, "strftime", with_seconds)
    writer = CaptureWriter(
        str(tmp_path / "%s.pcap"), PcapFormat(1, 262144), Rotation(seconds=10, files=2)
    )
    wanted = corpus()[:4]
    writer.packets(wanted[:1])
    now += 9
    writer.packets(wanted[1:2])
    now += 1
    writer.packets(wanted[2:3])
    now += 10
    with pytest.raises(LastFileWritten):
        writer.packets(wanted[3:])
    writer.close()
    assert {name: len(read(tmp_path / name)) for name in os.listdir(tmp_path)} == {
        "1700000000.pcap": 2, "1700000010.pcap": 1,
    }  # fmt: skip
