"""What one process opened is not for its forked children.

A child has copies of the descriptors, but neither the Go library's threads nor the
pump's. What it would do with the copies (a filter set, a guard's entry removed) would be
done to its parent, so nothing is done: calls raise, and closing is a matter of the parent's.
"""

from __future__ import annotations

import os

_generation = 0
"""How many forks lie between this process and the one that imported this. getpid(2), which would
say as much, is a system call, and each connection asks several times."""


def _in_child() -> None:
    global _generation
    _generation += 1


os.register_at_fork(after_in_child=_in_child)


class Process:
    """The process that made it."""

    __slots__ = ("_mine",)

    def __init__(self) -> None:
        self._mine = _generation

    def forked(self) -> bool:
        """True in a child of it."""
        return _generation != self._mine

    def require(self) -> None:
        """Errors: SetupError in a child of it."""
        if self.forked():
            from netkat.stack.ffi import refuse_forked

            refuse_forked()
