"""Signals of a capture: end, print counts (SIGUSR1), flush (SIGUSR2), as a descriptor to poll."""

from __future__ import annotations

import os
import signal

from netkat.commands.signals import ENDING, USER, SignalDescriptor


class CaptureSignals(SignalDescriptor):
    """Signals of a capture. SIGUSR2 is accepted and ignored: no output is ever buffered.

    SIGINT ends the capture even if it was ignored at start, as in tcpdump: a shell ignores it for
    background commands, and scripts end them by `kill -INT $!`.
    """

    def __init__(self) -> None:
        super().__init__((*ENDING, *USER), regardless=(signal.SIGINT, *USER))
        self.ended = False
        self._counts_requested = False

    def noted(self, number: int) -> None:
        """Record the signal."""
        if number in ENDING:
            self.ended = True
        elif number == signal.SIGUSR1:
            self._counts_requested = True

    def clear(self) -> None:
        """Reset ``fd``: it becomes readable again at the next signal."""
        try:
            os.read(self.fd, 512)
        except BlockingIOError:
            pass

    def take_counts_request(self) -> bool:
        """Return whether counts were requested since the last call."""
        requested, self._counts_requested = self._counts_requested, False
        return requested
