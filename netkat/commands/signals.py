"""The signals that end netkat as a descriptor to wait on, and an exit code."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

ENDING = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGALRM,
    signal.SIGVTALRM,
    signal.SIGPROF,
    signal.SIGXCPU,
)
"""By default each ends a process at once, and the peer would learn nothing of it (signal(7))."""

USER = (signal.SIGUSR1, signal.SIGUSR2)
"""As those of ENDING, except for a capture."""


class Interrupted(Exception):
    """A signal asked netkat to end; everything has been taken down."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """As the shell counts: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.number


class SignalDescriptor:
    """While entered, each of ``numbers`` makes ``fd`` readable and is noted; nothing is raised.

    An exception out of a signal handler could land between making a thing and
    remembering to take it down. So the main thread waits on ``fd`` in every wait.
    For the main thread only.

    A signal that was ignored before stays ignored (nohup, a shell's ``&``), unless it is one
    of ``regardless``.
    """

    def __init__(
        self, numbers: Sequence[int], blocked: Sequence[int] = (), regardless: Sequence[int] = ()
    ) -> None:
        self._numbers, self._blocked, self._regardless = numbers, blocked, regardless
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        self.fd, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wakeup_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in self._numbers:
            if number in self._regardless or signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        self._mask_before = signal.pthread_sigmask(signal.SIG_BLOCK, self._blocked)
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
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask_before)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self.fd)
        os.close(self._writer)

    def noted(self, number: int) -> None:
        """A signal came; in the handler, so it only remembers."""
        raise NotImplementedError

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.noted(number)


class Signals(SignalDescriptor):
    """The ending signals: ``fd`` stays readable after one, and check() raises between the steps.

    SIGTTIN is blocked: in the background a read of the terminal fails (EIO)
    instead of stopping netkat with its connection. Ignored, it would be ignored in the
    commands of -e and -c as well; a mask is set for each thread, and so for each child.
    """

    def __init__(self) -> None:
        super().__init__((*ENDING, *USER), blocked=(signal.SIGTTIN,))
        self.received: int | None = None

    def noted(self, number: int) -> None:
        """The first one counts."""
        if self.received is None:
            self.received = number

    def check(self) -> None:
        """Raise Interrupted if a signal came."""
        if self.received is not None:
            raise Interrupted(self.received)
