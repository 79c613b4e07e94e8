"""What no test may leave behind, wherever it runs: handles of the Go library, and threads."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest

# A shell without job control starts what it puts in the background with SIGINT ignored, and
# nohup ignores SIGHUP; every child would inherit it: netkat keeps to that, and no test could
# interrupt it.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

SETTLE = 2.0
"""Seconds that an endpoint may take to be gone after its close."""


@pytest.fixture(autouse=True)
def no_handle_or_thread_left() -> Iterator[None]:
    """Stacks, endpoints and threads that a test opened are closed when it ends."""
    handles, threads = live_handles(), set(threading.enumerate())
    yield
    end = time.monotonic() + SETTLE
    while left := leavings(handles, threads):
        if time.monotonic() > end:
            pytest.fail("left behind: " + ", ".join(left), pytrace=False)
        gc.collect()
        time.sleep(0.01)


def leavings(handles: int, threads: set[threading.Thread]) -> list[str]:
    """In words, what is there now and was not before."""
    left = [
        f"thread {thread.name}"
        for thread in set(threading.enumerate()) - threads
        # Trio keeps idle ones for ten seconds, netkat one for good.
        if not thread.name.startswith(("Trio thread", "netkat-finalizers"))
    ]
    if (more := live_handles() - handles) > 0:
        left.append(f"{more} open handles of libgostack")
    return left


def live_handles() -> int:
    """Open stacks and endpoints in this process; 0 while nobody has loaded the library."""
    stack = sys.modules.get("netkat.stack")
    return int(stack.live_handles()) if stack is not None else 0
