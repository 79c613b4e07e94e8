"""What other people's tests of sockets say of netkat's: docs/compatibility.md, held to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compat import ledger
from tests.helpers.netns import ROOT, Pair, netns_pair

PARTS = 3
"""test_socket is run in so many pieces: it sleeps a good deal."""


@pytest.fixture(scope="module")
def routed() -> Iterator[Pair]:
    """A pair where the peer, too, has a default route: what listens on "" asks for it."""
    with netns_pair("nkco") as pair:
        for address in (pair.host.ipv4, pair.host.ipv6):
            pair.peer.ip(f"route add default via {address}")
        yield pair


def python(folder: Path, module: str, *words: str) -> Any:
    """What a module says as JSON, run in a folder where it may leave files."""
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_class_of_test_socket_is_spoken_of(tmp_path: Path) -> None:
    told = ledger.load("test_socket")
    left_out = [name for names in told.left_out.values() for name in names]
    known = python(tmp_path, "tests.compat.cpython")
    assert sorted(known) == sorted([*told.run, *left_out])


@pytest.mark.parametrize("part", range(PARTS))
def test_socket_tests(routed: Pair, tmp_path: Path, part: int) -> None:
    told = ledger.load("test_socket")
    addresses = {
        "server": [routed.peer.ipv4, routed.peer.ipv6],
        "client": [routed.host.ipv4, routed.host.ipv6],
    }
    places = routed.host.name, routed.peer.name, json.dumps(addresses)
    mine = list(told.run)[part::PARTS]
    found = python(tmp_path, "tests.compat.cpython", *places, *mine)
    assert list(found) == mine
    assert told.differences(found) == []
