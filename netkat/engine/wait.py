"""One rule for every wait: poll on descriptors, with a deadline on the monotonic clock.

A Python thread that waits here sits in poll(2) without the interpreter lock, so
signal handlers run (PEP 475) and nothing waits inside the Go library.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterable

CONNECT_TIMEOUT = 10.0
"""Seconds an address is given to answer where the caller names no time of their own."""


def deadline_after(seconds: float | None) -> float | None:
    """The moment ``seconds`` from now on the monotonic clock; None stays None (no limit)."""
    return None if seconds is None else time.monotonic() + seconds


def remaining(deadline: float | None) -> float | None:
    """Seconds left until the deadline, never negative; None where there is no limit."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def wait_readable(descriptors: Iterable[int | None], deadline: float | None) -> set[int]:
    """Those of the descriptors that poll readable (or failed); empty when the deadline passed."""
    poller = select.poll()
    for descriptor in descriptors:
        if descriptor is not None:
            poller.register(descriptor, select.POLLIN)
    left = remaining(deadline)
    # Rounded up: poll(2) counts whole milliseconds, and one that returns too
    # early would spin through its last millisecond.
    timeout = None if left is None else int(left * 1000) + 1
    return {descriptor for descriptor, _ in poller.poll(timeout)}
