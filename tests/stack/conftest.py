"""The library is loaded for all of them; nothing may be left over after each."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

from netkat.stack import live_handles
from netkat.stack.ffi import load
from tests.stack.network import Network, eventually


@pytest.fixture(scope="session", autouse=True)
def library() -> None:
    load()
    # The first timer has the Go runtime open descriptors of its own, which stay.
    with Network() as network:
        for endpoint in network.pair():
            endpoint.close()


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    before = descriptors()
    yield
    gc.collect()
    assert eventually(lambda: live_handles() == 0), f"{live_handles()} handles left"
    assert eventually(lambda: descriptors() <= before), f"left open: {descriptors() - before}"


def descriptors() -> set[str]:
    """Open descriptors, and what they are."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue  # that of listdir
        found.add(f"{number} {target}")
    return found
