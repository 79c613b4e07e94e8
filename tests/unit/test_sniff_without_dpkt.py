"""dpkt comes with an extra: lines do not use it, JSON names it if it is missing."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from netkat.capture import layers
from netkat.capture.frame_line import frame_line
from netkat.capture.packet import Packet
from netkat.errors import LibraryMissing
from tests.helpers.packets import ethernet, ip, udp

QUESTION = bytes.fromhex("123401000001000000000000016104746573740000010001")


@pytest.fixture
def without_dpkt(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "dpkt", None)
    layers._dpkt.cache_clear()
    yield
    layers._dpkt.cache_clear()


def question() -> bytes:
    return ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp(4000, 53, QUESTION)), 0x0800)


def line() -> str:
    return frame_line(question(), ethernet=True, time=0.0, outgoing=True)


@pytest.mark.usefixtures("without_dpkt")
def test_line_of_dns_question_without_dpkt_shows_the_question() -> None:
    assert "A? a.test." in line()


@pytest.mark.usefixtures("without_dpkt")
def test_layers_without_dpkt_name_the_package() -> None:
    packet = Packet(0, len(question()), question())
    with pytest.raises(LibraryMissing, match="dpkt") as missing:
        layers.layers(packet)
    assert missing.value.hint == "install it: pip install dpkt"
