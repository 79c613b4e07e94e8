"""Work that finalizers hand to a thread of their own.

The garbage collector runs finalizers in the middle of any call, in any thread, with any lock
held, and also while the interpreter exits. So a finalizer of netkat takes no lock, calls no
library and imports nothing: it puts its work into a queue, whose put() is reentrant.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings

# queue's own; queue itself would cost every import of netkat its milliseconds.
from _queue import SimpleQueue
from collections.abc import Callable
from types import FrameType
from typing import NamedTuple

THREAD_NAME = "netkat-finalizers"


class _Work(NamedTuple):
    close: Callable[[], object]
    owner: object = None
    """The object that was not closed; a ResourceWarning names it. None: no warning."""
    file: str = ""
    line: int = 0
    """The code that dropped the last reference."""


_queue: SimpleQueue[_Work] = SimpleQueue()
_lock = threading.Lock()
_thread: threading.Thread | None = None


def start() -> None:
    """Start the thread unless it runs. Call it where an object with a finalizer is made."""
    global _thread
    if _thread is None:
        with _lock:
            if _thread is None:
                thread = threading.Thread(target=_run, name=THREAD_NAME, daemon=True)
                thread.start()
                _thread = thread


# The defaults are bound now: when the interpreter exits, a module's names may be None.
def close_later(
    close: Callable[[], object],
    _put: Callable[[_Work], object] = _queue.put,
    _work: type[_Work] = _Work,
) -> None:
    """For a finalizer: have ``close`` called by the thread."""
    _put(_work(close))


def close_unclosed(
    owner: object,
    close: Callable[[], object],
    _put: Callable[[_Work], object] = _queue.put,
    _work: type[_Work] = _Work,
    _frame: Callable[[int], FrameType] = sys._getframe,
) -> None:
    """As close_later(); the thread also warns that ``owner`` was not closed."""
    finalizer = _frame(1)
    frame = finalizer.f_back or finalizer
    _put(_work(close, owner, frame.f_code.co_filename, frame.f_lineno))


def _run() -> None:
    while True:
        work = _queue.get()
        try:
            _finish(work)
        except Exception as error:
            threading.excepthook(
                threading.ExceptHookArgs(
                    (type(error), error, error.__traceback__, threading.current_thread())
                )
            )
        # Else the last object would live until the next one comes.
        del work


def _finish(work: _Work) -> None:
    text = f"unclosed {work.owner!r}"
    try:
        work.close()
    finally:
        if work.owner is not None:
            warnings.warn_explicit(text, ResourceWarning, work.file, work.line, source=work.owner)


def _forked() -> None:
    """In a child: the thread did not come along."""
    global _thread, _lock
    _thread, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forked)
