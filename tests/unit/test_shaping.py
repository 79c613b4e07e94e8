"""CRLF, telnet, lines: the same bytes whatever chunks they come in."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkat.commands.relay.transforms import (
    CrlfTransform,
    TelnetReader,
    Transform,
    escape_telnet,
    lines,
)

TEXT = st.lists(st.sampled_from([b"\r", b"\n", b"a", b"\r\n"]), max_size=20).map(b"".join)
CUTS = st.lists(st.integers(0, 40), max_size=8)


def through(transform: Transform, data: bytes, cuts: list[int]) -> bytes:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = (memoryview(data[begin:end]) for begin, end in itertools.pairwise(edges))
    return b"".join(bytes(transform(piece)) for piece in pieces)


@given(TEXT, CUTS)
def test_crlf_gives_each_bare_lf_its_cr(data: bytes, cuts: list[int]) -> None:
    assert through(CrlfTransform(), data, cuts) == re.sub(rb"(?<!\r)\n", b"\r\n", data)


@given(st.binary(max_size=100))
def test_lines_are_all_of_it_cut_after_each_lf(data: bytes) -> None:
    pieces = [bytes(line) for line in lines(memoryview(data))]
    assert b"".join(pieces) == data
    assert all(piece.find(b"\n") in (-1, len(piece) - 1) for piece in pieces)
    assert all(piece.endswith(b"\n") for piece in pieces[:-1])


COMMANDS = [
    ("will", b"\xff\xfb\x01", b"", b"\xff\xfe\x01"),
    ("do", b"\xff\xfd\x18", b"", b"\xff\xfc\x18"),
    ("wont and dont say what is so", b"\xff\xfc\x01\xff\xfe\x03", b"", b""),
    ("an escaped 255", b"a\xff\xffb", b"a\xffb", b""),
    ("a subnegotiation", b"a\xff\xfa\x18\x01x\xff\xffy\xff\xf0b", b"ab", b""),
    ("go ahead", b"a\xff\xf9b", b"ab", b""),
    ("login", b"\xff\xfd\x18\xff\xfb\x03login: ", b"login: ", b"\xff\xfc\x18\xff\xfe\x03"),
    ("an option numbered 255", b"\xff\xfb\xffa", b"a", b"\xff\xfe\xff"),
]


@pytest.mark.parametrize(("wire", "shown", "answer"), [row[1:] for row in COMMANDS])
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_telnet_is_refused_and_not_shown(
    wire: bytes, shown: bytes, answer: bytes, size: int
) -> None:
    answers: list[bytes] = []
    reader = TelnetReader(answers.append)
    assert through(reader, wire, list(range(0, len(wire), size))) == shown
    assert b"".join(answers) == answer


@given(st.binary(max_size=100), CUTS)
def test_telnet_data_arrives_as_it_was(data: bytes, cuts: list[int]) -> None:
    reader = TelnetReader(lambda answer: pytest.fail(f"{answer!r} to data"))
    assert through(reader, through(escape_telnet, data, cuts), cuts) == data
