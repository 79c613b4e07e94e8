"""What other people's tests say of netkat's connections: docs/compatibility.md, held to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compat import ledger, runs
from tests.helpers.netns import Pair, netns_pair

PARTS = 3
"""test_socket is run in so many pieces: it sleeps a good deal."""


@pytest.fixture(scope="module")
def routed() -> Iterator[Pair]:
    """A pair where the peer, too, has a default route: what listens on "" asks for it."""
    with netns_pair("nkco") as pair:
        for address in (pair.host.ipv4, pair.host.ipv6):
            pair.peer.ip(f"route add default via {address}")
        yield pair


def test_every_class_of_test_socket_is_spoken_of(tmp_path: Path) -> None:
    told = ledger.load("test_socket")
    left_out = [name for names in told.left_out.values() for name in names]
    assert sorted(runs.socket_classes(tmp_path)) == sorted([*told.run, *left_out])


@pytest.mark.parametrize("part", range(PARTS))
def test_socket_tests(routed: Pair, tmp_path: Path, part: int) -> None:
    told = ledger.load("test_socket")
    mine = list(told.run)[part::PARTS]
    found = runs.socket_tests(routed, tmp_path, mine)
    assert list(found) == mine
    assert told.differences(found) == []


@pytest.mark.parametrize(
    ("suite", "file"),
    [(suite, file) for suite in ("httpcore", "urllib3") for file in ledger.load(suite).run],
)
def test_http_clients_tests(pair: Pair, tmp_path: Path, suite: str, file: str) -> None:
    told = ledger.load(suite)

    def differences() -> list[str]:
        found = runs.pytest_tests(pair, tmp_path, suite, [file], told.cases_left_out())
        assert list(found) == [file]
        return told.differences(found)

    # Some of their cases have threads that race, or tenths of a second: what differs does so twice.
    if first := differences():
        assert differences() == [], first
