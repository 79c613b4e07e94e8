"""Open flows and attachments follow the network: a thread that reads rtnetlink's changes.

A kernel socket asks for its route again as soon as something has changed. So does this, for every
open flow, and hands the stack the new path. An attachment follows its interface's MAC, MTU,
name and addresses; it fails when the interface is deleted.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol, TypeVar

from netkat.errors import InterfaceNotFound, NetkatError
from netkat.host.links import addresses, link

if TYPE_CHECKING:
    from netkat.engine.path import Path
    from netkat.engine.path_cache import Paths
    from netkat.engine.session import Session
    from netkat.engine.uplink import Uplink
    from netkat.host.route_monitor import Changed

T = TypeVar("T")

_log = logging.getLogger(__name__)

THREAD_NAME = "netkat-changes"

SHARE = 4
"""The thread pauses this many times as long as it has worked: a routing daemon that loads
a table makes thousands of changes."""

REAP = 0.2
"""Seconds between two checks of failed attachments whose connections are not closed yet."""


class Inside(Protocol):
    """Calls a function in the network namespace of the attachments."""

    def __call__(self, function: Callable[[], T]) -> T: ...


class Following:
    """The thread. It is started once, and ended by close()."""

    def __init__(
        self,
        paths: Paths,
        *,
        inside: Inside,
        attachments: Callable[[], list[Uplink]],
        attach: Callable[[Path], Uplink],
    ) -> None:
        self._paths, self._inside, self._attach = paths, inside, attach
        self._attachments = attachments
        self._working = threading.Lock()
        self._failed: list[Uplink] = []
        self._starting = threading.Lock()
        self._stop = -1
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; idempotent. There is something to follow now."""
        if self._thread is not None:
            return
        with self._starting:
            if self._thread is None:
                descriptor = self._inside(self._paths.watch)
                self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                self._thread = threading.Thread(
                    target=self._run, args=(descriptor,), name=THREAD_NAME, daemon=True
                )
                self._thread.start()

    def close(self) -> None:
        """End the thread; idempotent."""
        if self._thread is None or self._stop < 0:
            return
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        os.close(self._stop)
        self._stop = -1

    def begin(self, session: Session, epoch: int) -> None:
        """Follow a flow that was planned when the paths' epoch was this one."""
        if self._thread is not None and epoch != self._paths.epoch:
            self._follow([session])

    def _run(self, descriptor: int) -> None:
        poller = select.poll()
        for each in (descriptor, self._stop):
            poller.register(each, select.POLLIN)
        stop = select.poll()
        stop.register(self._stop, select.POLLIN)
        while True:
            ready = {one for one, _ in poller.poll(int(REAP * 1000) if self._failed else None)}
            if self._stop in ready:
                return
            began = time.monotonic()
            try:
                self._work()
            except Exception as error:
                # A thread that ended here would leave every flow on its last path.
                _log.error("a change of the network was not followed", exc_info=error)
            if stop.poll(SHARE * (time.monotonic() - began) * 1000):
                return

    def _work(self) -> None:
        changed = self._paths.read_changes()
        attachments = self._attachments()
        if changed.links or changed.lost:
            for uplink in attachments:
                if uplink.link.index in changed.links or changed.lost:
                    self._refresh(uplink, changed)
        if changed.addresses:
            held = {own.address.packed for own in self._inside(addresses)}
            for uplink in attachments:
                uplink.follow_addresses(held)
        by_index = {uplink.link.index: uplink for uplink in attachments}
        for neighbor in changed.neighbors:
            if neighbor.index in by_index:
                by_index[neighbor.index].follow_neighbor(neighbor.address, neighbor.mac)
        if changed.paths:
            for uplink in attachments:
                uplink.follow_routes(self._inside)
            self._follow(one for uplink in attachments for one in uplink.sessions.all())
        self._reap(attachments)

    def _refresh(self, uplink: Uplink, changed: Changed) -> None:
        """Give the attachment what its interface is now."""
        index = uplink.link.index
        try:
            if index in changed.deleted:
                raise InterfaceNotFound(uplink.link.name)
            uplink.follow_link(self._inside(lambda: link(index)))
        except InterfaceNotFound:
            uplink.fail(uplink.wire.gone())

    def _follow(self, sessions: Iterable[Session]) -> None:
        """Plan the sessions' paths again, and have them used."""
        with self._working:
            following = [
                one for one in sessions if one.plan is not None and not one.endpoint.closed
            ]
            if not following:
                return
            planned = self._inside(lambda: [_plan(one) for one in following])
            for session, path in zip(following, planned, strict=True):
                try:
                    self._use(session, path)
                except NetkatError as error:
                    _log.warning("%s stays on its path: %s", session.flow, error)

    def _use(self, session: Session, path: Path | NetkatError) -> None:
        if isinstance(path, NetkatError):
            session.lose_path(path)
        elif path.link.index == session.uplink.link.index:
            session.use_path(path, session.uplink)
        else:
            session.use_path(path, self._attach(path))

    def _reap(self, attachments: Iterable[Uplink]) -> None:
        """Close failed attachments once their connections are closed."""
        self._failed = [uplink for uplink in attachments if uplink.fault is not None]
        for uplink in self._failed:
            uplink.close_if_unused()


def _plan(session: Session) -> Path | NetkatError:
    assert session.plan is not None
    try:
        return session.plan()
    except NetkatError as error:
        return error
