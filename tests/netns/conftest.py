"""What needs root: a clear failure without it, and nothing may be left behind."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netkat.flow import Flow, Protocol
from netkat.stack import Stack
from tests.helpers import netns
from tests.helpers.forwarder import impaired_pair
from tests.helpers.why_lab import WhyCluster

SETTLE = 2.0
"""Seconds that a process or a descriptor may take to go away after a test."""


@pytest.fixture(scope="session", autouse=True)
def root_needed() -> None:
    """These tests make network namespaces; without that right they fail rather than be skipped."""
    effective = int(
        next(
            line.split()[1]
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("CapEff")
        ),
        16,
    )
    cap_sys_admin, cap_net_admin = 21, 12
    if not (effective >> cap_sys_admin & 1 and effective >> cap_net_admin & 1):
        pytest.exit(
            "tests/netns needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN, to make network namespaces):"
            " run it with sudo, or leave this folder out",
            returncode=4,
        )
    netns.sweep()


@pytest.fixture(scope="session", autouse=True)
def library() -> None:
    """Have Go's runtime open now what it keeps for good: no test is to blame for it."""
    here, there = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
    with Stack(1500, None) as stack:
        stack.add_address(here)
        stack.add_route(there)
        with stack.connect(Flow(Protocol.TCP, here, 1, there, 1)) as endpoint:  # its timer does it
            endpoint.abort()


@pytest.fixture(autouse=True)
def nothing_left(root_needed: None, library: None) -> Iterator[None]:
    """Namespaces, descriptors and processes that a test began must be gone after it."""
    before = leavings()
    yield
    end = time.monotonic() + SETTLE
    while left := leavings() - before:
        if time.monotonic() > end:
            pytest.fail("left behind: " + ", ".join(sorted(left)), pytrace=False)
        gc.collect()
        time.sleep(0.01)


@pytest.fixture
def pair() -> Iterator[netns.Pair]:
    """Two namespaces on one link."""
    with netns.netns_pair("nk") as ends:
        yield ends


def leavings() -> set[str]:
    """What a test could leave: its own namespaces, this process's descriptors and children."""
    mine = f"-t{os.getpid()}-"
    found = {f"namespace {name}" for name in netns.existing() if mine in name}
    for entry in os.listdir("/proc/self/fd"):
        try:
            found.add(f"descriptor {entry} ({os.readlink(f'/proc/self/fd/{entry}')})")
        except OSError:
            continue  # the one that listed the folder
    for task in os.listdir("/proc/self/task"):
        try:
            children = Path(f"/proc/self/task/{task}/children").read_text().split()
        except OSError:
            continue
        found |= {f"process {pid} ({command(pid)})" for pid in children}
    return found


def command(pid: str) -> str:
    """What a process calls itself."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "?"
    return b" ".join(words).decode(errors="replace").strip() or "ended, not waited for"


PATHS = {
    "clean": partial(netns.netns_pair, "nkl"),
    "lossy": partial(
        impaired_pair, "nkl", loss=0.01, delay=0.001, reorder=0.05, duplicate=0.02, seed=11
    ),
}


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> Iterator[tuple[str, netns.Pair]]:
    """Two namespaces with nothing between them, and with losses, duplicates and reordering."""
    name: str = request.param
    made: AbstractContextManager[netns.Pair] = PATHS[name]()
    with made as pair:
        yield name, pair


@pytest.fixture(scope="module")
def built_cluster(root_needed: None) -> Iterator[WhyCluster]:
    """The demo's cluster, without rules; one for all tests of a file."""
    with closing(WhyCluster()) as made:
        made.build()
        yield made


@pytest.fixture
def cluster(built_cluster: WhyCluster) -> Iterator[WhyCluster]:
    """The same, cleared of rules and conntrack entries afterwards."""
    yield built_cluster
    built_cluster.clear()
