"""Room in the table of descriptors, in processes of their own: one that has grown stays large."""

from __future__ import annotations

import subprocess
import sys

import pytest

SIZES = """
import os, resource, sys, threading
from netkat.engine.descriptors import make_room
threads, limit = map(int, sys.argv[1:3])
if limit:
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
over = threading.Event()
for _ in range(threads):
    threading.Thread(target=over.wait).start()
def size():
    lines = open("/proc/self/status")
    return next(int(line.split()[1]) for line in lines if line.startswith("FDSize"))
before, opened = size(), os.listdir("/proc/self/fd")
make_room()
print(before, size(), opened == os.listdir("/proc/self/fd"))
over.set()
"""


@pytest.mark.parametrize(
    ("threads", "limit", "room"), [(0, 0, 1024), (0, 300, 257), (1, 0, 0)], ids=str
)
def test_there_is_room_where_it_costs_nothing(threads: int, limit: int, room: int) -> None:
    argv = [sys.executable, "-c", SIZES, str(threads), str(limit)]
    before, after, same = subprocess.run(
        argv, capture_output=True, text=True, check=True
    ).stdout.split()
    assert same == "True"
    if room:
        assert int(after) >= room
    else:
        assert after == before
