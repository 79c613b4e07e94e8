"""Ctrl-C and SIGTERM as one exception, and a shield over the tear-down."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM)


class DemoInterrupted(BaseException):
    """A signal asked the demo to end. Not an Exception, so that no handler swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def ignore() -> None:
    """From here on no signal interrupts: what is being taken down is taken down whole."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def interruptible() -> Iterator[None]:
    """Within, the first signal raises DemoInterrupted and the later ones are ignored.

    A signal that was ignored before stays ignored (nohup). The exception may come between any
    two steps: what is taken down must be found by its name, not by what was remembered of it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's business
        return

    def interrupt(number: int, _frame: object) -> None:
        ignore()
        raise DemoInterrupted(number)

    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
