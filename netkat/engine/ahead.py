"""What is imported while the kernel attaches the guard.

A tcx link is there once no processor runs the line of programs from before it: the call
waits for that (net/tcx.h, tcx_entry_sync), 8 to 20 ms without the interpreter lock. What
loads the library and dials is imported meanwhile, in a thread that has ended before anything
else goes on: capabilities belong to threads, and the command gives up those of its only one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_WANTED = ["netkat.engine.pump", "netkat.engine.session", "netkat.stack"]


def also(*modules: str) -> None:
    """Import these ahead, too: what a program wants that connects more than once."""
    _WANTED.extend(modules)


@contextmanager
def importing_ahead() -> Iterator[None]:
    """Import it beside the body; both are done at the end."""
    thread = threading.Thread(target=_import, name="netkat-import")
    try:
        thread.start()
    except RuntimeError:  # no thread is to be had: each is imported where it is wanted
        yield
        return
    try:
        yield
    finally:
        thread.join()


def _import() -> None:
    with suppress(ImportError):  # told of where it is wanted
        for module in _WANTED:
            __import__(module)
