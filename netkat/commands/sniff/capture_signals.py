"""Signals of a capture: end, counts (SIGUSR1), flush (SIGUSR2), as a descriptor to wait on."""

from __future__ import annotations

import os
import signal

from netkat.commands.signals import ENDING, USER, SignalDescriptor


class CaptureSignals(SignalDescriptor):
    """SIGUSR2 has nothing to flush: it is taken so that it does not kill.

    SIGINT ends it in a script's background, too, as tcpdump: `sniff … & …; kill -INT $!`.
    """

    def __init__(self) -> None:
        super().__init__((*ENDING, *USER), regardless=(signal.SIGINT,))
        self.ended = False
        self._asked_for_counts = False

    def noted(self, number: int) -> None:
        """An end, or a question."""
        if number in ENDING:
            self.ended = True
        elif number == signal.SIGUSR1:
            self._asked_for_counts = True

    def clear(self) -> None:
        """Make ``fd`` wait for the next signal."""
        try:
            os.read(self.fd, 512)
        except BlockingIOError:
            pass

    def take_counts(self) -> bool:
        """Whether counts were asked for since the last call."""
        asked, self._asked_for_counts = self._asked_for_counts, False
        return asked
