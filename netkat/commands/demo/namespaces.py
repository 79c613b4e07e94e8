"""The demo's network namespaces: named after its process, and removed with it.

A namespace ``kp4711-node1`` belongs to the demo of process 4711. A name outlives a SIGKILL, so
the next demo removes what a dead one left. A dead owner is recognized by its pid and by a
lock: a pid alone is ambiguous where containers with their own pids share /run/netns.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterable
from pathlib import Path

from netkat.commands.demo.tools import call, ip_batch

DIRECTORY = Path("/run/netns")
_OWNED = re.compile(r"kp([0-9]+)-[a-z0-9]+")


class Namespaces:
    """The namespaces of this process. ``close()`` removes all of them; idempotent."""

    def __init__(self, roles: Iterable[str]) -> None:
        self._prefix = f"kp{os.getpid()}-"
        self._roles = tuple(roles)
        self._lock: int | None = None

    def __getitem__(self, role: str) -> str:
        return self._prefix + role

    def create(self) -> None:
        """Make them all, after removing what dead demos left."""
        remove_leftovers()
        ip_batch(f"netns add {self[role]}" for role in self._roles)
        # An open namespace stays alive: this descriptor is the lock that tells others that
        # the owner lives, and the kernel drops it with the process.
        self._lock = os.open(DIRECTORY / self[self._roles[0]], os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        """Remove them, found by name: one that was made is removed, remembered or not."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        _remove(sorted(name for name in _names() if name.startswith(self._prefix)))


def remove_leftovers() -> list[str]:
    """Remove the namespaces of demos that are dead; their names."""
    by_owner: dict[int, list[str]] = {}
    for name in _names():
        if owned := _OWNED.fullmatch(name):
            by_owner.setdefault(int(owned[1]), []).append(name)
    left = [
        name
        for pid, names in sorted(by_owner.items())
        if not _alive(pid) and not any(_locked(name) for name in names)
        for name in sorted(names)
    ]
    _remove(left)
    return left


def _names() -> list[str]:
    return os.listdir(DIRECTORY) if DIRECTORY.is_dir() else []


def _alive(pid: int) -> bool:
    # A container's first processes get the same pids at every start: our own pid in a name
    # that we have not made yet is a dead one's.
    return pid != os.getpid() and Path(f"/proc/{pid}").exists()


def _locked(name: str) -> bool:
    with contextlib.suppress(OSError):
        descriptor = os.open(DIRECTORY / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False


def _remove(names: Iterable[str]) -> None:
    for name in names:
        # Another demo may be removing the same leftover at this very moment.
        if (DIRECTORY / name).exists():
            call(["ip", "netns", "del", name])
