"""The one-step printer of frequent segments: the same text as from the dissectors."""

from __future__ import annotations

import random
import struct

import pytest

from netkat.capture.packet import Packet
from netkat.capture.text.common_segment import common_segment
from netkat.capture.text.context import Style
from netkat.capture.text.printer import Printer
from tests.helpers.packets import ethernet, ip

TIME_STAMPS = b"\x01\x01\x08\x0a" + bytes(range(8))
OPTIONS = (b"", TIME_STAMPS, b"\x02\x04\x05\xb4", b"\x01\x01\x05\x0a" + bytes(8))
STYLES = (Style(numeric=True), Style(), Style(numeric=True, absolute=True))


class Slow(Printer):
    """A printer that never uses the one-step printer."""

    def __init__(self, style: Style) -> None:
        super().__init__(style)
        self._short = False


def frames(seed: int, count: int) -> list[bytes]:
    """Segments of a few conversations, with some bytes changed and some frames cut."""
    choose = random.Random(seed)
    found = []
    for _ in range(count):
        six = choose.random() < 0.4
        pair = ["2001:db8::1", "2001:db8::2"] if six else ["192.0.2.1", "192.0.2.2"]
        ports = [choose.choice((443, 80)), 40000 + choose.randrange(4)]
        if choose.random() < 0.5:
            pair.reverse()
            ports.reverse()
        options = choose.choice(OPTIONS)
        flags = choose.choice((0x10, 0x10, 0x18, 0x11, 0x14, 0x02, 0x12, 0x04, 0x30, 0x110))
        bits = (5 + len(options) // 4) << 12 | flags
        header = struct.pack(
            "!HHIIHHHH", *ports, choose.randrange(1 << 32), choose.randrange(1 << 32), bits,
            choose.randrange(1 << 16), 0, 0,
        )  # fmt: skip
        payload = bytes(choose.choice((0, 0, 1, 500)))
        frame = bytearray(
            ethernet(ip(pair[0], pair[1], 6, header + options + payload), 0x86DD if six else 0x0800)
        )
        if choose.random() < 0.2:
            frame[choose.randrange(12, min(len(frame), 74))] = choose.randrange(256)
        found.append(bytes(frame))
    return found


@pytest.mark.parametrize("style", STYLES, ids=["numeric", "names", "absolute"])
@pytest.mark.parametrize("seed", range(4))
def test_common_segment_has_the_text_of_the_dissectors(style: Style, seed: int) -> None:
    choose, fast, slow = random.Random(seed), Printer(style), Slow(style)
    for frame in frames(seed, 1500):
        kept = frame if choose.random() < 0.8 else frame[: choose.randrange(1, len(frame) + 1)]
        packet = Packet(0, len(frame), kept)
        assert fast.body(packet) == slow.body(packet), kept.hex()


def test_common_segment_prints_most_segments_of_a_conversation() -> None:
    printer = Printer(Style(numeric=True))
    frame = ethernet(
        ip("192.0.2.1", "192.0.2.2", 6, struct.pack("!HHIIHHHH", 1, 2, 9, 9, 0x8010, 9, 0, 0)
           + TIME_STAMPS), 0x0800,
    )  # fmt: skip
    assert common_segment(printer, frame, len(frame)) is None, "the conversation is not known"
    first = printer.body(Packet(0, len(frame), frame))
    assert first.endswith("ack 9, win 9, options [nop,nop,TS val 66051 ecr 67438087], length 0")
    again = common_segment(printer, frame, len(frame))
    assert again == first.replace("ack 9,", "ack 1,")
