"""Cgroups named as a container runtime names them, gone again on every path."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOTS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
UID = "0a1b2c3d-1111-2222-3333-444455556666"


@dataclass(frozen=True)
class Container:
    """A pod's container, as far as a kernel can see one."""

    cgroup: Path
    id: str

    def take(self, pid: int) -> None:
        """Move a process into it."""
        (self.cgroup / "cgroup.procs").write_text(str(pid))


@contextmanager
def container() -> Iterator[Container]:
    """What containerd makes with the cgroupfs driver. Who is still in it moves out at the end."""
    root = next(root for root in ROOTS if (root / "cgroup.procs").exists())
    number = f"nks{os.getpid():07}".encode().hex().ljust(64, "a")
    pod = root / f"nkt{os.getpid()}-pod{UID}"
    place = pod / number
    place.mkdir(parents=True)
    try:
        yield Container(place, number)
    finally:
        for pid in (place / "cgroup.procs").read_text().split():
            (root / "cgroup.procs").write_text(pid)
        _remove(place)
        _remove(pod)


def _remove(place: Path) -> None:
    # A process that has just ended holds its cgroup until the kernel has let go of it.
    end = time.monotonic() + 5
    while True:
        try:
            place.rmdir()
            break
        except OSError:
            assert time.monotonic() < end, f"{place} is not given up"
            time.sleep(0.01)
