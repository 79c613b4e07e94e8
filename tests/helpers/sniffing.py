"""Running ``netkat sniff`` in a namespace, from armed to its last count."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tests.helpers.netns import ROOT, Namespace


@dataclass
class Said:
    """How a run ended."""

    code: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.decode().splitlines()

    def counted(self, what: str) -> int:
        """The number before "packets captured" and the like."""
        match = re.search(rf"(\d+) packets? {what}", self.err)
        assert match, self.err
        return int(match[1])


class Sniffing:
    """A run in the background; entering waits until it listens."""

    def __init__(self, space: Namespace, *arguments: str, **more: Any) -> None:
        self._space, self._arguments, self._more = space, arguments, more
        self._told = 0

    def __enter__(self) -> Sniffing:
        self._more.setdefault("stdout", subprocess.PIPE)
        self._more.setdefault("bufsize", 0)  # select() knows of no buffer
        self.child = self._space.popen(
            [sys.executable, "-m", "netkat", "sniff", *self._arguments],
            stderr=subprocess.PIPE, **{"cwd": ROOT, **self._more},
        )  # fmt: skip
        self.out = self.err = b""
        assert self.child.stderr is not None
        while b"listening on" not in self.err:
            ready = select.select([self.child.stderr], [], [], 20)[0]
            assert ready, f"it does not listen: {self.err.decode()}"
            more = self.child.stderr.readline()
            assert more, f"it ended: {self.err.decode()}"
            self.err += more
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.communicate()

    def wait_for(self, words: str, times: int = 1) -> list[str]:
        """The first so many lines with these words in them that nobody waited for yet."""
        assert self.child.stdout is not None
        found: list[str] = []
        end = time.monotonic() + 20
        while len(found) < times:
            line, newline, rest = self.out[self._told :].partition(b"\n")
            if newline:
                self._told = len(self.out) - len(rest)
                found += [line.decode()] * (words in line.decode())
                continue
            ready = select.select([self.child.stdout], [], [], max(0, end - time.monotonic()))[0]
            more = os.read(self.child.stdout.fileno(), 1 << 16) if ready else b""
            assert more, f"no line with {words!r}: {self.out.decode()}"
            self.out += more
        return found

    def wait_for_said(self, words: str) -> None:
        """Until standard error has a line with these words in it that was not there before."""
        assert self.child.stderr is not None
        line = b""
        while words.encode() not in line:
            ready = select.select([self.child.stderr], [], [], 20)[0]
            assert ready, f"it does not say {words!r}: {self.err.decode()}"
            line = self.child.stderr.readline()
            assert line, f"it ended: {self.err.decode()}"
            self.err += line

    def end(self, number: int | None = signal.SIGINT) -> Said:
        """Ask it to end (or wait until it does) and take what it said."""
        if number is not None:
            time.sleep(0.15)
            self.child.send_signal(number)
        out, err = self.child.communicate(timeout=20)
        said = Said(self.child.returncode, self.out + (out or b""), (self.err + err).decode())
        assert "Traceback" not in said.err, said.err
        return said


def sniff_once(space: Namespace, *arguments: str) -> Said:
    """A run that ends by itself."""
    done = space.run(
        [sys.executable, "-m", "netkat", "sniff", *arguments], check=False, cwd=ROOT, timeout=30
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Said(done.returncode, done.stdout.encode(), done.stderr)
