"""Signals of a capture: end, counts (SIGUSR1), flush (SIGUSR2), as a descriptor to wait on."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class CaptureSignals:
    """While entered, a signal makes ``fd`` readable; nothing is raised by it. Main thread only."""

    def __init__(self) -> None:
        self.ended = False
        self.asked_for_counts = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> CaptureSignals:
        self.fd, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wakeup_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in (*ENDING, signal.SIGUSR1, signal.SIGUSR2):
            # One that is ignored stays so (nohup, a shell's &).
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self.fd)
        os.close(self._writer)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number in ENDING:
            self.ended = True
        elif number == signal.SIGUSR1:
            self.asked_for_counts = True

    def clear(self) -> None:
        """Make ``fd`` wait for the next signal."""
        try:
            os.read(self.fd, 512)
        except BlockingIOError:
            pass

    def take_counts(self) -> bool:
        """Whether counts were asked for since the last call."""
        asked, self.asked_for_counts = self.asked_for_counts, False
        return asked
