"""What the process that started netkat left to it: signal mask, and the command's view of it.

A daemon may start netkat with SIGCHLD ignored, so that no child can be waited for, or with
signals blocked, which then would not end it. Both survive exec(2).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

_SECRETS = frozenset({"NETKAT_PROXY_AUTH"})
"""Variables that are for netkat alone."""

_mask: set[signal.Signals] | set[int] = set()


def reset_signals() -> None:
    """Set what netkat depends on: SIGCHLD at its default, no signal blocked.

    A signal that ends netkat and was ignored stays ignored (nohup, a shell's ``&``).
    """
    global _mask
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _mask = signal.pthread_sigmask(signal.SIG_SETMASK, ())


@contextmanager
def inherited_mask() -> Iterator[None]:
    """Within, this thread has the mask that netkat was started with: for a child to inherit."""
    before = signal.pthread_sigmask(signal.SIG_SETMASK, _mask)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def environment() -> dict[str, str]:
    """The variables that netkat was started with, without its secrets."""
    return {name: value for name, value in os.environ.items() if name not in _SECRETS}
