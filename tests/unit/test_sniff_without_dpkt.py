"""dpkt comes with an extra: lines do without it, JSON says what to install."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from netkat.capture import layers
from netkat.capture.frame_line import frame_line
from netkat.capture.packet import Packet
from netkat.capture.text import dns
from netkat.errors import LibraryMissing
from tests.helpers.packets import ethernet, ip, udp

QUESTION = bytes.fromhex("123401000001000000000000016104746573740000010001")


@pytest.fixture
def without_dpkt(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "dpkt", None)
    monkeypatch.setitem(sys.modules, "dpkt.dns", None)
    for cached in (dns._reader, layers._dpkt):
        cached.cache_clear()
    yield
    for cached in (dns._reader, layers._dpkt):
        cached.cache_clear()


def question() -> bytes:
    return ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp(4000, 53, QUESTION)), 0x0800)


def line() -> str:
    return frame_line(question(), ethernet=True, time=0.0, outgoing=True)


def test_a_line_shows_the_question() -> None:
    assert "A? a.test." in line()


@pytest.mark.usefixtures("without_dpkt")
def test_a_line_without_it_shows_the_length() -> None:
    assert line().endswith("10.0.0.1.4000 > 10.0.0.2.53: UDP, length 24")


@pytest.mark.usefixtures("without_dpkt")
def test_layers_without_it_say_what_to_install() -> None:
    packet = Packet(0, len(question()), question())
    with pytest.raises(LibraryMissing, match="dpkt") as missing:
        layers.layers(packet)
    assert missing.value.hint == "pip install 'netkat[sniff]'"
