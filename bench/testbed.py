"""Two namespaces for measurements: kernel servers in one, tools in the other."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helpers.netns import Host, Pair

ROOT = Path(__file__).resolve().parents[1]
NETKAT = [str(Path(sys.executable).with_name("netkat"))]
LONGEST = 120.0
"""Seconds that a single run may take."""


@dataclass(frozen=True)
class Extent:
    """How much is measured. ``short`` is for CI: it finds failures and gross regressions."""

    short: bool
    runs: int
    megabytes: int

    @property
    def seconds(self) -> float:
        """Return the duration of a run that has no end of its own."""
        return 0.5 if self.short else 2.0


@dataclass(frozen=True)
class Spent:
    """Cost of a finished child: exit code, CPU seconds (user and system), wall seconds."""

    code: int
    cpu: float
    wall: float
    output: str
    stderr: str = ""
    """Its stderr, if that was a pipe."""


def start(host: Host, argv: Sequence[str], **options: Any) -> subprocess.Popen[str]:
    """Start a command from a thread in the namespace, without ip(8)."""
    options.setdefault("stdin", subprocess.DEVNULL)
    options.setdefault("stdout", subprocess.DEVNULL)
    options.setdefault("stderr", subprocess.DEVNULL)
    options.setdefault("cwd", ROOT)
    return host.call(lambda: subprocess.Popen(argv, text=True, **options))


def run(host: Host, argv: Sequence[str], **options: Any) -> Spent:
    """Run a command in the namespace. Errors: RuntimeError if it takes too long."""
    before = time.monotonic()
    child = start(host, argv, **options)
    late = threading.Timer(LONGEST, child.kill)
    late.start()
    try:
        with ThreadPoolExecutor(1) as pool:
            words = pool.submit(child.stderr.read) if child.stderr is not None else None
            output = child.stdout.read() if child.stdout is not None else ""
            stderr = words.result() if words is not None else ""
        _, status, usage = os.wait4(child.pid, 0)
    finally:
        late.cancel()
    child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - before
    if wall >= LONGEST:
        raise RuntimeError(f"{argv[0]} was not done after {LONGEST:g} s")
    return Spent(child.returncode, usage.ru_utime + usage.ru_stime, wall, output, stderr)


@contextlib.contextmanager
def listening(
    host: Host, serve: Callable[[socket.socket], None], *, at_once: bool = False
) -> Iterator[int]:
    """Run a kernel listener in the namespace. ``serve`` gets each connection in turn.

    ``at_once``: each in a thread of its own.
    """
    listener = host.call(lambda: socket.create_server((host.ipv4, 0), backlog=1024))

    def loop() -> None:
        while True:
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            if at_once:
                threading.Thread(target=one, args=(conn,), daemon=True).start()
            else:
                one(conn)

    def one(conn: socket.socket) -> None:
        with conn, contextlib.suppress(ConnectionError):
            serve(conn)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


@contextlib.contextmanager
def ended(child: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """End the child on exit."""
    try:
        yield child
    finally:
        child.kill()
        child.wait()


@contextlib.contextmanager
def page_cache_file(size: int) -> Iterator[Path]:
    """Create a file of ``size`` random bytes in memory."""
    path = Path(f"/dev/shm/netkat-bench-{os.getpid()}")
    block = os.urandom(1 << 20)
    try:
        with path.open("wb") as file:
            for _ in range(size >> 20):
                file.write(block)
        yield path
    finally:
        path.unlink(missing_ok=True)


__all__ = [
    "NETKAT",
    "ROOT",
    "Extent",
    "Host",
    "Pair",
    "Spent",
    "ended",
    "listening",
    "page_cache_file",
    "run",
    "start",
]
