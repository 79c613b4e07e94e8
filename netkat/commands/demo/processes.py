"""Many short processes at once, each with one request on stdin and a bound on its time."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from netkat.commands.demo.tools import ENVIRONMENT

_END_SECONDS = 2
"""How long a process may take from SIGTERM to its end."""


@dataclass
class Finished:
    """The output of a process; ``status`` as in subprocess."""

    output: bytes = b""
    errors: bytes = b""
    status: int | None = None


@dataclass
class _Runner:
    process: subprocess.Popen[bytes]
    ended: Finished = field(default_factory=Finished)


def run_all(
    commands: Sequence[Sequence[str]],
    *,
    request: bytes,
    directory: Path,
    enough: Callable[[bytes], bool],
    seconds: float,
) -> list[Finished]:
    """Run ``commands`` together until each has ended; the results in the same order.

    A process whose output is ``enough``, or that runs longer than ``seconds``, gets SIGTERM.
    On an exception, KeyboardInterrupt included, all are gone before it goes on.
    """
    runners: list[_Runner] = []
    try:
        for command in commands:
            runners.append(_Runner(_start(command, request, directory)))
        _read(runners, enough, time.monotonic() + seconds)
        for runner in runners:
            runner.ended.status = _end(runner.process)
    finally:
        for runner in runners:
            if runner.process.poll() is None:
                runner.process.kill()
            runner.process.__exit__(None, None, None)  # closes the pipes and reaps
    return [runner.ended for runner in runners]


def _start(command: Sequence[str], request: bytes, directory: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=directory,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(request)
    return process


def _read(runners: Sequence[_Runner], enough: Callable[[bytes], bool], deadline: float) -> None:
    with selectors.DefaultSelector() as open_pipes:
        for runner in runners:
            open_pipes.register(_pipe(runner.process.stdout), selectors.EVENT_READ, runner)
            open_pipes.register(_pipe(runner.process.stderr), selectors.EVENT_READ, runner)
        while open_pipes.get_map():
            ready = open_pipes.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                return
            for key, _ in ready:
                owner: _Runner = key.data
                chunk = os.read(key.fd, 65536)
                if not chunk:
                    open_pipes.unregister(key.fileobj)
                elif key.fileobj is owner.process.stderr:
                    owner.ended.errors += chunk
                else:
                    owner.ended.output += chunk
                    if enough(owner.ended.output):
                        owner.process.terminate()


def _end(process: subprocess.Popen[bytes]) -> int:
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
