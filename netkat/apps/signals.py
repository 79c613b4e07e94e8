"""SIGINT, SIGTERM and SIGHUP as a descriptor to wait on, and an exit code."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """A signal asked netkat to end; everything has been taken down."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """As the shell counts: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.number


class Signals:
    """While entered, an ending signal makes ``fd`` readable for good; nothing is raised by it.

    An exception out of a signal handler could land between making a thing and
    remembering to take it down. So the main thread waits on ``fd`` in every
    wait, and asks check() between the steps. For the main thread only.

    A signal that was ignored before stays ignored (nohup, a shell's ``&``).
    SIGTTIN is ignored: in the background a read of the terminal fails (EIO)
    instead of stopping netkat with its connection.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        self.fd, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wakeup_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        self._before[signal.SIGTTIN] = signal.signal(signal.SIGTTIN, signal.SIG_IGN)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self.fd)
        os.close(self._writer)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = number

    def check(self) -> None:
        """Raise Interrupted if a signal came."""
        if self.received is not None:
            raise Interrupted(self.received)
