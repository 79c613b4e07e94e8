"""What one process opened is not for its forked children.

A child has copies of the descriptors, but neither the Go library's threads nor the
pump's. What it would do with the copies (a filter set, a guard's entry removed) would be
done to its parent, so nothing is done: calls raise, and closing is a matter of the parent's.
"""

from __future__ import annotations

import os


class Process:
    """The process that made it."""

    __slots__ = ("_pid",)

    def __init__(self) -> None:
        self._pid = os.getpid()

    def forked(self) -> bool:
        """True in a child of it."""
        return os.getpid() != self._pid

    def require(self) -> None:
        """Errors: SetupError in a child of it."""
        if self.forked():
            from netkat.stack.ffi import refuse_forked

            refuse_forked()
