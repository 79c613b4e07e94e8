"""Thousands of short connections one after another, and what is left of them: nothing, counted."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netkat import Stack
from netkat.stack.ffi import live_handles
from tests.helpers.netns import Host, Namespace, Pair

COUNTS = pytest.mark.parametrize(
    "count",
    [300, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])],
)
WARM = 20
"""Connections after which all is open that stays open."""


def descriptors(pid: int | str) -> Counter[str]:
    """What a process holds, by kind."""
    found: Counter[str] = Counter()
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            kind = os.readlink(f"/proc/{pid}/fd/{entry}")
        except FileNotFoundError:
            continue  # the one that listed the folder
        found[kind.split(":")[0] if not kind.startswith("anon_inode") else kind] += 1
    return found


def kernel_holds(space: Namespace) -> list[str]:
    """Sockets and filters of a namespace."""
    sockets = space.run(["ss", "-Htuna"]).stdout
    filters = "".join(
        space.run(["tc", "filter", "show", "dev", "eth0", side]).stdout
        for side in ("ingress", "egress")
    )
    return [*sockets.splitlines(), *filters.splitlines()]


def settled(state: Callable[[], object], wanted: object, seconds: float = 20) -> None:
    """What takes a moment to go is waited for."""
    end = time.monotonic() + seconds
    while (found := state()) != wanted:
        assert time.monotonic() < end, f"{found}, not {wanted}"
        time.sleep(0.05)
