"""-I -O -T -M -m -b: read as nc reads them."""

from __future__ import annotations

import pytest

from netkat.cli.options_socket import SocketOptionGroup, type_of_service
from netkat.errors import BadArgument
from netkat.options import SocketOptions


@pytest.mark.parametrize(
    ("word", "byte"),
    [
        ("lowdelay", 0x10),
        ("throughput", 0x08),
        ("reliability", 0x04),
        ("EF", 0xB8),
        ("af11", 0x28),
        ("af43", 0x98),
        ("cs0", 0),
        ("cs7", 0xE0),
        ("0x10", 16),
        ("255", 255),
    ],
)
def test_type_of_service(word: str, byte: int) -> None:
    assert type_of_service(word) == byte


@pytest.mark.parametrize("word", ["", "256", "-1", "af14", "fast", "٣", "0x"])
def test_no_type_of_service(word: str) -> None:
    with pytest.raises(BadArgument, match="-T"):
        type_of_service(word)


def test_what_was_asked_for() -> None:
    words = SocketOptionGroup("4096", "8192", "ef", "5", "255", broadcast=True)
    assert words.options(udp=True) == SocketOptions(5, 255, 0xB8, 4096, 8192, broadcast=True)
    assert SocketOptionGroup().options(udp=False) is None


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (SocketOptionGroup(receive_buffer="0"), "-I"),
        (SocketOptionGroup(send_buffer="1e6"), "-O"),
        (SocketOptionGroup(ttl="256"), "-M"),
        (SocketOptionGroup(min_ttl="x"), "-m"),
        (SocketOptionGroup(broadcast=True), "-b"),
    ],
)
def test_what_makes_no_sense(words: SocketOptionGroup, option: str) -> None:
    with pytest.raises(BadArgument, match=option):
        words.options(udp=False)
