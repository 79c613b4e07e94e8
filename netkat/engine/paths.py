"""Paths, remembered: the kernel is asked again as soon as anything has changed, and every second.

A program that opens thousands of connections would otherwise ask the same four
questions for each. What a change is, the kernel tells by itself; the second is
for what it does not tell (a path MTU that it learned, a sysctl).
"""

from __future__ import annotations

import threading
import time

from netkat.engine.path import Path, plan_path
from netkat.flow import IPAddress, Protocol
from netkat.host.changes import Changes
from netkat.host.port_rules import ports_decide
from netkat.options import PathOptions

LONGEST = 1.0
"""Seconds that an answer is believed while no change is seen."""

MOST = 4096
"""Answers that are kept: a scan of a large net should not."""


class Paths:
    """plan_path() with a memory. close() is idempotent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changes: Changes | None = None
        self._known: dict[tuple[object, ...], Path] = {}
        self._ports_decide: bool | None = None
        self._until = 0.0

    def plan(
        self,
        destination: IPAddress,
        *,
        protocol: Protocol,
        remote_port: int,
        options: PathOptions,
    ) -> Path:
        """As plan_path, by the thread that is in the network namespace. Errors: the same."""
        with self._lock:
            self._forget_what_changed()
            if self._ports_decide is None:
                self._ports_decide = ports_decide()
            key: tuple[object, ...]
            key = (destination, options.source, options.interface, options.via, options.table)
            if self._ports_decide:
                key = (*key, protocol, remote_port, options.source_port)
            path = self._known.get(key)
        if path is not None:
            return path
        path = plan_path(destination, protocol=protocol, remote_port=remote_port, options=options)
        with self._lock:
            # A change in the meantime lies in the queue, and is seen before this is used.
            if len(self._known) < MOST:
                self._known[key] = path
        return path

    def ports_decide(self) -> bool:
        """Whether the path may depend on ports: then plan again once the local port is known."""
        with self._lock:
            return self._ports_decide is not False

    def close(self) -> None:
        """Forget all, and hear no more news."""
        with self._lock:
            if self._changes is not None:
                self._changes.close()
                self._changes = None

    def _forget_what_changed(self) -> None:
        now = time.monotonic()
        if self._changes is None:
            self._changes = Changes()
        elif not self._changes.seen() and now < self._until:
            return
        self._ports_decide = None
        self._known.clear()
        self._until = now + LONGEST
