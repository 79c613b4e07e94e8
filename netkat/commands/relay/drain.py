"""Wait until the peer has acknowledged the last byte and the FIN."""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import TYPE_CHECKING

from netkat.commands.relay.directions import send_fin
from netkat.errors import NetkatError, Undelivered
from netkat.flow import Protocol

if TYPE_CHECKING:
    from netkat.commands.relay.directions import Conn, SendLoop

LIMIT = 60.0
"""Seconds until unacknowledged data is given up."""
_SHORTEST, _LONGEST = 0.0005, 0.05
"""Seconds between checks. The stack has no event for the acknowledgement of the last byte: it
wakes writers when the buffer has room, which is earlier."""
_LOOK = 5
"""Milliseconds between checks for datagrams that are not sent yet."""
_OVER = frozenset({7, 15})
"""gVisor's tcp.StateClose and tcp.StateError: a RST, after the peer's FIN or before, a time-out."""


def unacked_bytes(conn: Conn) -> int:
    """Return the bytes that the peer has not acknowledged."""
    if conn.protocol is not Protocol.TCP:
        return 0
    try:
        return conn.info().unacked
    except (NetkatError, OSError):
        return 0


def wait_until_sent(conn: Conn, cancel_fd: int) -> bool:
    """Wait until datagrams are sent: the first may wait for the next hop's MAC.

    Ends when the stack gives up resolving it. Returns False when cancelled.
    """
    poller = select.poll()
    poller.register(cancel_fd, select.POLLIN)
    while _leaving(conn):
        if poller.poll(_LOOK):
            return False
    return True


def _leaving(conn: Conn) -> bool:
    try:
        return conn.info().leaving
    except (NetkatError, OSError):
        return False


class AckWaiter:
    """Waits at the end of a TCP relay; its sender is stopped and finishes pending data."""

    def __init__(
        self,
        conn: Conn,
        *,
        cancel_fd: int | None,
        sender: SendLoop | None = None,
        wakeup_fd: int | None = None,
    ) -> None:
        self._conn, self._sender = conn, sender
        self._nudge_fd, self._cancel_fd = wakeup_fd, cancel_fd
        self._poll = select.poll()
        for descriptor in (wakeup_fd, cancel_fd):
            if descriptor is not None:
                self._poll.register(descriptor, select.POLLIN)
        self._open = 0

    def wait(self, limit: float = LIMIT, *, needs_fin: bool = True) -> bool:
        """Send FIN and wait until all is acknowledged; False when cancelled.

        Errors: Undelivered, with the count; without ``needs_fin`` for bytes only.
        """
        deadline = time.monotonic() + limit
        pause = _SHORTEST
        shut = False
        while True:
            if not shut and not self._sending():
                shut = True
                # Already sent after EOF on stdin; fails on a connection that was reset.
                with contextlib.suppress(NetkatError, OSError):
                    send_fin(self._conn)
            delivered, broken = self._look()
            if shut and delivered:
                return True
            if broken:
                return self._give_up("the peer reset the connection", needs_fin=False)
            left = deadline - time.monotonic()
            if left <= 0:
                return self._give_up(f"no acknowledgement within {limit:g} s", needs_fin=needs_fin)
            if self._cancelled(min(pause, left)):
                return False
            pause = min(pause * 2, _LONGEST)

    def _sending(self) -> bool:
        return self._sender is not None and self._sender.is_alive()

    def _look(self) -> tuple[bool, bool]:
        """Return whether all data and the FIN are acknowledged, and whether it is gone."""
        try:
            info = self._conn.info()
            if info.state in _OVER:
                # The count is older than the state: the last ACK may have arrived in between.
                info = self._conn.info()
        except (NetkatError, OSError):
            return False, True
        self._open = info.unacked
        delivered = not self._open and bool(info.fin_acked)
        return delivered, not delivered and info.state in _OVER

    def _give_up(self, why: str, *, needs_fin: bool) -> bool:
        count = self._open + (self._sender.pending if self._sender is not None else 0)
        if count:
            raise Undelivered(f"{count} bytes not acknowledged: {why}", count=count)
        if needs_fin:
            raise Undelivered(f"FIN not acknowledged: {why}")
        return True

    def _cancelled(self, seconds: float) -> bool:
        for descriptor, _ in self._poll.poll(max(1, int(seconds * 1000))):
            if descriptor == self._cancel_fd:
                return True
            os.eventfd_read(descriptor)
        return False
