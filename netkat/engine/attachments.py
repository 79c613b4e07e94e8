"""The attachments to interfaces of one caller: opened on first use, replaced after a failure."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from netkat.engine.path import Path
from netkat.engine.uplink import Uplink
from netkat.resources import Closeable

if TYPE_CHECKING:
    from collections.abc import Callable

    from netkat.engine.pump import Tap
    from netkat.options import PathOptions, SocketOptions


class Attachments(Closeable):
    """One for each interface. close() closes all of them; idempotent."""

    def __init__(
        self,
        options: PathOptions,
        socket_options: SocketOptions | None,
        tap: Tap | None,
        on_open: Callable[[], None],
    ) -> None:
        """``on_open`` is called after each session on one of them is opened, by any thread."""
        self._on_open = on_open
        self._options, self._socket_options, self._tap = options, socket_options, tap
        self._lock = threading.Lock()
        self._by_index: dict[int, Uplink] = {}
        self._replaced: list[Uplink] = []
        """Those that have failed, and whose connections are not all closed yet."""
        self._loaded = False
        self._undo = ExitStack()

    def open(self, path: Path) -> Uplink:
        """Return the attachment to a path's interface, in its network namespace.

        Errors: any SetupError.
        """
        with self._lock:
            uplink = self._by_index.get(path.link.index)
            if uplink is not None and uplink.fault is not None:
                self._replaced.append(uplink)
                uplink = None
            if uplink is None:
                uplink = Uplink(
                    path.link,
                    options=self._options,
                    socket_options=self._socket_options,
                    tap=self._tap,
                    on_open=self._on_open,
                )
                self._undo.callback(uplink.close)
                self._by_index[path.link.index] = uplink
            return uplink

    def load(self) -> None:
        """Load the library for all of them, and for those that are opened later."""
        with self._lock:
            self._loaded = True
            opened = list(self._by_index.values())
        for uplink in opened:
            self.load_if_wanted(uplink)

    def load_if_wanted(self, uplink: Uplink) -> None:
        """Load the library for one that was opened just now, if load() was called before."""
        with self._lock:
            if not self._loaded:
                return
            uplink.load()

    def usable(self) -> list[Uplink]:
        """Those that new connections use."""
        with self._lock:
            return list(self._by_index.values())

    def all(self) -> list[Uplink]:
        """Those, and the ones that have failed and are not closed yet."""
        with self._lock:
            self._replaced = [one for one in self._replaced if not one.closed]
            return [*self._by_index.values(), *self._replaced]

    def close(self) -> None:
        """End every connection on them, and undo all that was made."""
        self._undo.close()
