"""--progress: on a terminal one line written over and over, elsewhere nothing."""

from __future__ import annotations

import io
import os
import pty
import select
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from netkat.commands.report.progress_line import ProgressLine, size


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1234567, "1.23 MB"), (2.5e12, "2.5 TB")],
)
def test_sizes(count: float, words: str) -> None:
    assert size(count) == words


class Screen:
    """A terminal in place of stderr."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.master, slave = pty.openpty()
        self.file = os.fdopen(slave, "w")
        monkeypatch.setattr(sys, "stderr", self.file)
        self.text = ""

    def wait_for(self, words: str) -> None:
        """Until it stands there."""
        end = time.monotonic() + 10
        while words not in self.text:
            assert time.monotonic() < end, self.text
            if select.select([self.master], [], [], 0.1)[0]:
                self.text += os.read(self.master, 65536).decode()

    def close(self) -> None:
        self.file.close()
        os.close(self.master)


class Counts:
    """What of a relay is shown."""

    def __init__(self, sent: int, received: int) -> None:
        self.sent, self.received = sent, received


def conn(**facts: int) -> Any:
    return SimpleNamespace(info=lambda: SimpleNamespace(**facts))


def test_one_line_for_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch)
    said: list[str] = []
    progress = ProgressLine(said.append, wanted=True)
    relay: Any = Counts(1_500_000, 20)
    other: Any = Counts(500_000, 0)
    progress.begin(relay, conn(mss=1448, rtt=3000, retransmits=2))
    screen.wait_for("sent 1.5 MB, received 20 B, ")
    screen.wait_for("/s, rtt 3 ms, 2 retransmits")
    progress.begin(other, conn(mss=0))
    screen.wait_for("sent 2 MB, received 20 B, ")
    screen.wait_for("2 connections")
    progress.say("a line")
    assert said == ["a line"]
    progress.end(relay)
    progress.end(other)
    progress.close()
    progress.close()
    screen.wait_for("B/s on average\r\n")
    assert screen.text.rpartition("\x1b[K")[2].startswith("sent 2 MB, received 20 B, ")
    assert screen.text.count("\n") == 1, "written over, and its last word stays"
    screen.close()


def test_where_stderr_is_no_terminal_it_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    progress = ProgressLine(lambda line: None, wanted=True)
    progress.begin(Counts(1, 1), conn(mss=0))  # type: ignore[arg-type]
    progress.close()
    assert stderr.getvalue() == ""
