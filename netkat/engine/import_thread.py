"""Import modules while the kernel attaches the guard.

Creating a tcx link waits until no processor runs the previous list of programs (net/tcx.h,
tcx_entry_sync): 8 to 20 ms, without the interpreter lock. A connect needs these modules next.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_MODULES = ("netkat.stack", "netkat.engine.pump", "netkat.engine.session")


@contextmanager
def import_in_thread() -> Iterator[None]:
    """Import the modules in a thread that has ended when the context does.

    Capabilities belong to threads, and the command drops those of its only one.
    """
    thread = threading.Thread(target=_import, name="netkat-import")
    try:
        thread.start()
    except RuntimeError:  # no thread can be started: each module is imported where it is used
        yield
        return
    try:
        yield
    finally:
        thread.join()


def _import() -> None:
    with suppress(ImportError, OSError, MemoryError):  # raised again where it is used
        for module in _MODULES:
            __import__(module)
