"""Words of the command line, and what they stand for."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkat.cli import parse
from netkat.cli.console import escape_controls
from netkat.commands.connect.connect_request import ConnectRequest
from netkat.errors import BadArgument, InterfaceNotFound
from netkat.flow import Protocol
from netkat.options import PathOptions, parse_next_hop


@pytest.mark.parametrize(
    ("word", "seconds"),
    [("2", 2), ("0.5", 0.5), (".5", 0.5), ("500ms", 0.5), ("2m", 120), ("1h", 3600), ("3s", 3)],
)
def test_times(word: str, seconds: float) -> None:
    assert parse.seconds(word, "-w") == pytest.approx(seconds)


@pytest.mark.parametrize("word", ["", "x", "-1", "0", "1d", "1e3", "nan", "inf", "٣", "2 s", "0ms"])
def test_no_times(word: str) -> None:
    with pytest.raises(BadArgument, match="-w"):
        parse.seconds(word, "-w")


@pytest.mark.parametrize("word", ["1", "80", "65535", "http"])
def test_ports(word: str) -> None:
    assert parse.destination_port(word) == word


@pytest.mark.parametrize("word", ["0", "65536", "99999999999", ""])
def test_no_ports(word: str) -> None:
    with pytest.raises(BadArgument):
        parse.destination_port(word)


def test_source_ports() -> None:
    assert parse.source_port(None, Protocol.TCP) == 0
    assert parse.source_port("4000", Protocol.TCP) == 4000
    assert parse.source_port("domain", Protocol.UDP) == 53
    with pytest.raises(BadArgument, match="-p"):
        parse.source_port("no-such-service", Protocol.TCP)


@pytest.mark.parametrize("word", ["02:00:00:00:00:01", "02-00-00-00-00-01"])
def test_a_next_hop_by_mac(word: str) -> None:
    assert parse_next_hop(word) == b"\x02\0\0\0\0\x01"


@pytest.mark.parametrize("word", ["10.0.0.1", "fe80::1", "fe80::1%eth0"])
def test_a_next_hop_by_address(word: str) -> None:
    assert parse_next_hop(word) == ip_address(word)


@pytest.mark.parametrize(
    "word", ["", "node2", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "00:00:00:00:00:00", "10.0.0"]
)
def test_no_next_hop(word: str) -> None:
    with pytest.raises(BadArgument, match="--via"):
        parse_next_hop(word, "--via")


@pytest.mark.parametrize("word", ["1", "0.5", "500ms", "10s"])
def test_an_interval_for_an_interface_names_both(word: str) -> None:
    with pytest.raises(InterfaceNotFound) as caught:
        parse.interface(word)
    assert "interface" in caught.value.message
    assert caught.value.hint is not None
    assert "--interval" in caught.value.hint and "--idle-timeout" in caught.value.hint


def test_an_interface_is_a_name() -> None:
    assert parse.interface("lo") == "lo"


def test_the_version_follows_what_was_given() -> None:
    assert ConnectRequest("h", "1").ip_version is None
    assert ConnectRequest("h", "1", path=PathOptions(source=ip_address("::1"))).ip_version == 6
    via = PathOptions(via=ip_address("10.0.0.1"))
    assert ConnectRequest("h", "1", path=via).ip_version == 4
    assert ConnectRequest("h", "1", path=PathOptions(via=b"\x02\0\0\0\0\x01")).ip_version is None
    assert ConnectRequest("h", "1", version=6, path=via).ip_version == 6


@given(st.text())
def test_whatever_is_printed_is_one_line_without_controls(text: str) -> None:
    assert escape_controls(text).isprintable()
    if text.isprintable():
        assert escape_controls(text) == text
