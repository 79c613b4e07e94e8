"""A container is found by the cgroup of its processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.netns import Pair
from tests.helpers.sniffing import Sniffing, sniff_once

ROOTS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))


@pytest.fixture
def cgroup() -> Iterator[tuple[Path, str]]:
    """A cgroup named as a runtime names a container's, and the container's id."""
    root = next(root for root in ROOTS if (root / "cgroup.procs").exists())
    name = f"nks{os.getpid():06}".encode().hex().ljust(64, "a")
    place = root / f"cri-containerd-{name}.scope"
    place.mkdir()
    try:
        yield place, name
    finally:
        for pid in (place / "cgroup.procs").read_text().split():
            (root / "cgroup.procs").write_text(pid)
        place.rmdir()


def test_a_container_by_its_id(pair: Pair, cgroup: tuple[Path, str]) -> None:
    place, name = cgroup
    sleeper = pair.peer.popen(["sleep", "60"])
    (place / "cgroup.procs").write_text(str(sleeper.pid))
    with Sniffing(
        pair.host, "--container", name[:20], "-i", "eth0", "-Q", "in", "-n", "-t", "icmp"
    ) as watching:
        pair.host.run(["ping", "-c1", pair.peer.ipv4])
        said = watching.end()
    assert len(said.lines) == 1
    assert said.lines[0].startswith(f"IP {pair.host.ipv4} > {pair.peer.ipv4}: ICMP echo request")


def test_names_that_nothing_here_has(pair: Pair) -> None:
    for arguments, words in (
        (["--container", "deadbeef" * 8], "no process of a container deadbeef"),
        (["--pod", "shop/no-such-pod"], "no pod shop/no-such-pod runs on this node"),
        (["--pod", "a/b", "--container", "deadbeef"], "--pod and --container exclude each other"),
        (["--container", "../../proc"], "is no container id"),
    ):
        said = sniff_once(pair.host, *arguments, "-i", "eth0")
        assert said.code == 2
        assert words in said.err
