"""Copies of the frames of a connection: lines for -d, a file for --pcap."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from netkat.resources import Closeable

if TYPE_CHECKING:
    from netkat.commands.report.frame_file import FrameFile
    from netkat.commands.report.frame_log import FrameLog

Tap = Callable[[bytes, bool, str, bool, float], None]


class Taps(Closeable):
    """Opened at once, writing after start(): threads start after capabilities are dropped.

    Errors of the constructor: BadArgument when the file cannot be made.
    """

    def __init__(self, show: bool, file: str | None, say: Callable[[str], None]) -> None:
        self._taps: list[FrameLog | FrameFile] = []
        if show:
            from netkat.commands.report.frame_log import FrameLog

            self._taps.append(FrameLog(say))
        if file is not None:
            from netkat.commands.report.frame_file import FrameFile

            self._taps.append(FrameFile(file, say))

    @property
    def tap(self) -> Tap | None:
        """The callback for the stack; None without -d and --pcap."""
        if len(self._taps) < 2:
            return self._taps[0].tap if self._taps else None
        return self._each

    def start(self) -> None:
        """Begin to write."""
        for tap in self._taps:
            tap.start()

    def close(self) -> None:
        """Write queued packets; idempotent."""
        for tap in self._taps:
            tap.close()

    def _each(self, *seen: Any) -> None:
        for tap in self._taps:
            tap.tap(*seen)
