"""Hostile bytes: nothing but the errors that are promised comes out, and it ends.

A fixed corpus and fixed seeds, so a failure comes back; bounded in count.
"""

from __future__ import annotations

import contextlib
import io
import json
import random

import pytest

from netkat.bpf.filters.libpcap import FilterRefused
from netkat.bpf.filters.pcap_filter import compile_filter
from netkat.capture.flow_statistics import FlowStatistics
from netkat.capture.packet import Packet
from netkat.capture.pcap import CaptureFileError, PcapFormat, PcapReader
from netkat.capture.pcapng import PcapngFormat
from netkat.capture.pcapng_reader import PcapngReader
from netkat.capture.text.context import Style
from netkat.capture.text.printer import Printer
from netkat.commands.sniff.packet_json import as_object
from tests.helpers.schemas import parsed
from tests.helpers.sniff_corpus import packets

ROUNDS = 12
LINKTYPES = (1, 0, 101, 108, 113, 228, 229, 276, 12345)
STYLES = (
    Style(stamp=0),
    Style(stamp=4, verbose=3, link=True, dump="XX", numeric=True),
    Style(stamp=3, quiet=True, absolute=True, dump="A", color=True, number=True),
)


def mutants(seed: int) -> list[Packet]:
    """Every frame of the corpus with bytes changed, cut off, repeated; lengths that lie."""
    chance = random.Random(seed)
    found = []
    for _, packet in packets():
        raw = bytearray(packet.raw)
        for _ in range(chance.randrange(6)):
            raw[chance.randrange(len(raw))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, 4, 6, 0x45))
        if chance.random() < 0.5:
            raw = raw[: chance.randrange(len(raw) + 1)]
        if chance.random() < 0.1:
            raw += raw * chance.randrange(5)
        length = len(raw) if chance.random() < 0.7 else chance.randrange(1 << 16)
        time = chance.choice((packet.time_ns, 0, -1, 1 << 62, 1 << 70))
        kind = 1 if chance.random() < 0.6 else chance.choice(LINKTYPES)
        found.append(Packet(time, max(length, len(raw)), bytes(raw), kind))
    return found


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_changed_frames(seed: int) -> None:
    table = FlowStatistics()
    printers = [Printer(style) for style in STYLES]
    plain = Printer()
    for packet in mutants(seed):
        for printer in printers:
            assert isinstance(printer.line(packet), str)
        table.add(packet)
        assert packet.layers is not None
        parsed("packet", json.dumps(as_object(packet, plain)))
    assert table.packets == len(packets())


@pytest.mark.parametrize("seed", range(4))
def test_random_frames(seed: int) -> None:
    chance = random.Random(1000 + seed)
    printers = [Printer(style) for style in STYLES]
    for _ in range(1500):
        raw = chance.randbytes(chance.randrange(200))
        packet = Packet(0, len(raw), raw, chance.choice(LINKTYPES))
        for printer in printers:
            printer.line(packet)
        assert packet.layers is not None


def nested(kind: bytes, count: int) -> bytes:
    return bytes(12) + b"\x08\0" + kind * count


@pytest.mark.parametrize(
    "raw",
    [
        # IP in IP, GRE in GRE, tags and labels, without end.
        bytes(12) + b"\x08\0" + b"".join(
            b"\x45\0" + (20 * (200 - n)).to_bytes(2, "big") + bytes(5) + b"\x04" + bytes(10)
            for n in range(200)
        ),
        bytes(12) + b"\x81\0\0\x05" * 400,
        bytes(12) + b"\x88\x47" + b"\0\x01\0\x40" * 400,
        bytes(12) + b"\x86\xdd\x60\0\0\0\x40\0\0\x40" + bytes(32) + b"\0\0\0\0\0\0\0\0" * 500,
        # A DNS name that points at itself.
        bytes(12) + b"\x08\0\x45\0\0\x40" + bytes(5) + b"\x11" + bytes(10)
        + b"\0\x35\x10\0\0\x2c\0\0" + b"\0\1\1\0\0\1\0\0\0\0\0\0" + b"\xc0\x0c\0\1\0\1",
    ],
)  # fmt: skip
def test_headers_without_end(raw: bytes) -> None:
    packet = Packet(0, len(raw), raw)
    for style in STYLES:
        assert len(Printer(style).line(packet)) < 100_000
    assert len(packet.layers) < 500


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_changed_files(seed: int) -> None:
    chance = random.Random(seed)
    wanted = [packet for _, packet in packets()][:30]
    for number in range(60):
        ng = number % 2
        form = PcapngFormat(65535) if ng else PcapFormat(1, 65535)
        data = bytearray(form.begin() + form.packets(wanted) + form.end())
        for _ in range(chance.randrange(1, 8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        data = data[: chance.randrange(len(data) + 1)]
        file = io.BytesIO(bytes(data))
        magic = file.read(4)
        read = 0
        with contextlib.suppress(CaptureFileError):
            reader = PcapngReader(file) if ng else PcapReader(file, magic.ljust(4, b"\0"))
            for packet in reader:
                read += 1
                assert len(packet.raw) <= packet.length
        assert read <= 4 * len(wanted)


@pytest.mark.parametrize("seed", range(4))
def test_random_filters(seed: int) -> None:
    words = (
        "tcp", "udp", "port", "80", "host", "10.0.0.1", "net", "10/8", "and", "or", "not", "(",
        ")", "[", "]", "13", "&", "2", "!=", "0", "vlan", "ip6", "proto", "\\tcp", "src", "dst",
        "less", "greater", "ether", "'", "%s", "\x80", "portrange", "1-2", "broadcast",
    )  # fmt: skip
    chance = random.Random(seed)
    compiled = 0
    for _ in range(150):
        text = " ".join(chance.choice(words) for _ in range(chance.randrange(1, 7)))
        with contextlib.suppress(FilterRefused):
            compile_filter(text)
            compiled += 1
    assert compiled
