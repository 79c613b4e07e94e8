"""Paths that are kept until something changes, for a second at most.

A program that opens thousands of connections would otherwise ask the kernel the same four
questions for each. rtnetlink reports changes; the second is for what it does not report (a path
MTU that the kernel learned, a sysctl).
"""

from __future__ import annotations

import threading
import time

from netkat.engine.path import Path, plan_path
from netkat.flow import Flow, IPAddress, Protocol
from netkat.host.port_rules import ports_decide
from netkat.host.route_monitor import Changed, RouteMonitor
from netkat.options import PathOptions

LONGEST = 1.0
"""Seconds that an answer is used while no change is reported."""

MOST = 4096
"""Answers that are kept: a scan of a large net should not."""


class Paths:
    """plan_path() with a memory. close() is idempotent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changes: RouteMonitor | None = None
        self._known: dict[tuple[object, ...], Path] = {}
        self._ports_decide: bool | None = None
        self._until = 0.0
        self._watched = False
        self.epoch = 0
        """Another number as soon as the paths may be others."""

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
            path, epoch = self._known.get(key), self.epoch
        if path is not None:
            return path
        path = plan_path(destination, protocol=protocol, remote_port=remote_port, options=options)
        with self._lock:
            # A change that is still in the queue is read before this is used.
            if epoch == self.epoch and len(self._known) < MOST:
                self._known[key] = path
        return path

    def plan_again(self, flow: Flow, *, interface: str | None = None) -> Path:
        """As plan(), for a flow that is open."""
        assert flow.remote is not None
        return self.plan(
            flow.remote,
            protocol=flow.protocol,
            remote_port=flow.remote_port,
            options=PathOptions(
                source=flow.local, source_port=flow.local_port, interface=interface
            ),
        )

    def ports_decide(self) -> bool:
        """Whether the path may depend on ports: then plan again once the local port is known."""
        with self._lock:
            return self._ports_decide is not False

    def watch(self) -> int:
        """Leave reading the changes to the caller: the descriptor that polls readable for them.

        By the thread that is in the network namespace.
        """
        with self._lock:
            self._watched = True
            return self._open().fileno()

    def read_changes(self) -> Changed:
        """Return what has changed, and forget the paths that may have."""
        with self._lock:
            if self._changes is None:
                return Changed()
            changed = self._changes.read()
            if changed.paths:
                self._forget()
            return changed

    def refresh(self) -> int:
        """Forget the paths that may have changed: the epoch of those that are planned now."""
        with self._lock:
            self._forget_what_changed()
            return self.epoch

    def current(self, epoch: int) -> bool:
        """Whether a path that was planned in that epoch is still the path."""
        with self._lock:
            if self._changes is None or self._changes.pending():
                return False
            return epoch == self.epoch

    def close(self) -> None:
        """Forget all, and read no more changes."""
        with self._lock:
            if self._changes is not None:
                self._changes.close()
                self._changes = None

    def _open(self) -> RouteMonitor:
        if self._changes is None:
            self._changes = RouteMonitor()
        return self._changes

    def _forget_what_changed(self) -> None:
        if self._changes is None:
            self._open()
        elif self._changes.pending():
            if not self._watched:
                self._changes.read()
        elif time.monotonic() < self._until:
            return
        self._forget()

    def _forget(self) -> None:
        self._ports_decide = None
        self._known.clear()
        self._until = time.monotonic() + LONGEST
        self.epoch += 1
