"""-d: this connection's frames as text, written by a thread of their own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

_LINES = 4096
"""Frames that may wait to be written; the pump never waits for a slow terminal."""
_LAST_LINES = 0.5
"""Seconds at the end for what still waits."""

Seen = tuple[bytes, bool, str, bool, float]


class FrameLog:
    """A tap for the Dialer. start() makes the thread, so it comes after capabilities are gone."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._seen: queue.Queue[Seen | None] = queue.Queue(_LINES)
        self._lost = 0
        self._thread = threading.Thread(target=self._write, name="netkat-frames", daemon=True)

    def tap(
        self, frame: bytes, outgoing: bool, interface: str, ethernet: bool, time: float
    ) -> None:
        """One frame, from a pump's thread; counted and let go where the queue is full."""
        try:
            self._seen.put_nowait((frame, outgoing, interface, ethernet, time))
        except queue.Full:
            self._lost += 1

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self) -> None:
        """Write what waits, as far as stderr takes it."""
        if not self._thread.is_alive():
            return
        try:
            self._seen.put(None, timeout=_LAST_LINES)
        except queue.Full:
            return
        self._thread.join(_LAST_LINES)

    def _write(self) -> None:
        from netkat.capture.frame_line import frame_line

        while (seen := self._seen.get()) is not None:
            frame, outgoing, interface, ethernet, time = seen
            self._say(
                frame_line(
                    frame, ethernet=ethernet, time=time, outgoing=outgoing, interface=interface
                )
            )
        if self._lost:
            self._say(f"netkat: {self._lost} packets not shown (stderr too slow)")
