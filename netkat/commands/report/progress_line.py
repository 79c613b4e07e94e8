"""--progress: one line on the terminal that is updated in place.

rich, which typer depends on, takes longer to import than a connection to open.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from netkat.errors import NetkatError

if TYPE_CHECKING:
    from netkat.commands.relay.relay import Relay
    from netkat.conn import AnyConnection

Say = Callable[[str], None]
_EVERY = 0.5
"""Seconds between two lines."""
_CLEAR = "\r\x1b[K"
_UNITS = ("B", "kB", "MB", "GB", "TB")


class ProgressLine:
    """The progress line of all running relays; only shown if stderr is a terminal.

    Every other line on stderr goes through that method, which erases the progress line first.
    """

    def __init__(self, say: Say, *, wanted: bool) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._relays: dict[Relay, AnyConnection] = {}
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._shown = False
        self._done = (0, 0)
        self._began = time.monotonic()
        self._before = (self._began, 0)
        self._wanted = wanted and sys.stderr is not None and sys.stderr.isatty()

    def say(self, line: str) -> None:
        """A line of its own on stderr."""
        with self._lock:
            self._take_away()
        self._say(line)

    def begin(self, relay: Relay, conn: AnyConnection) -> None:
        """This one counts from now on."""
        if not self._wanted:
            return
        with self._lock:
            self._relays[relay] = conn
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="netkat-progress", daemon=True)
            self._thread.start()

    def end(self, relay: Relay) -> None:
        """It is over; what it moved stays counted. To be called before its connection closes."""
        with self._lock:
            if self._relays.pop(relay, None) is not None:
                self._done = (self._done[0] + relay.sent, self._done[1] + relay.received)

    def close(self) -> None:
        """Print the final line; idempotent."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            with self._lock:
                self._show(last=True)

    def _run(self) -> None:
        while not self._over.wait(_EVERY):
            with self._lock:
                self._show()

    def _show(self, *, last: bool = False) -> None:
        sent, received = self._done
        for relay in self._relays:
            sent, received = sent + relay.sent, received + relay.received
        now = time.monotonic()
        then, before = self._before
        if last:
            then, before = self._began, 0
        rate = size((sent + received - before) / max(now - then, 0.001))
        self._before = (now, sent + received)
        words = [f"sent {size(sent)}, received {size(received)}, {rate}/s"]
        if last:
            words[-1] += " on average"
        elif len(self._relays) == 1:
            words += _facts(next(iter(self._relays.values())))
        elif self._relays:
            words.append(f"{len(self._relays)} connections")
        self._write(_CLEAR + ", ".join(words)[: _width()] + ("\n" if last else ""))
        self._shown = not last

    def _take_away(self) -> None:
        if self._shown:
            self._write(_CLEAR)
            self._shown = False

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError):
            self._over.set()  # nobody looks any more


def size(count: float) -> str:
    """``999 B``, ``1.23 MB``: three digits, by thousands."""
    unit = 0
    while count >= 999.5 and unit < len(_UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.0f} B" if not unit else f"{count:.3g} {_UNITS[unit]}"


def _facts(conn: AnyConnection) -> list[str]:
    try:
        info = conn.info()
    except (NetkatError, OSError):
        return []
    if not info.mss:
        return []
    return [f"rtt {info.rtt / 1000:g} ms", f"{info.retransmits} retransmits"]


def _width() -> int:
    """Columns that do not make the terminal scroll."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        columns = 0
    return (columns or 80) - 1
