"""-z with -u: does a UDP port answer, refuse, or say nothing?"""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netkat.apps.halves import Conn

PROBES = 3
WAIT = 2.0
"""Seconds for all probes together where the caller names no time."""
_PAYLOAD = memoryview(b"X")
"""What nc sends, too; an empty datagram is dropped by more of those who read it."""


class PortProbe:
    """Sends a datagram up to PROBES times. ``sent`` counts them."""

    def __init__(self, conn: Conn, cancel_fd: int) -> None:
        self._conn, self._cancel_fd = conn, cancel_fd
        self.sent = 0

    def answered(self, seconds: float = WAIT) -> bool:
        """True for a datagram back, False for silence (or cancelled).

        Several, since both a datagram and an ICMP error (rate-limited by its
        sender, RFC 1812) may be lost. Errors: Refused, Unreachable.
        """
        self._conn.settimeout(0.0)
        for _ in range(PROBES):
            self.sent += 1
            self._conn.send(_PAYLOAD)
            heard = self._listen(time.monotonic() + seconds / PROBES)
            if heard is not None:
                return heard
        return False

    def _listen(self, deadline: float) -> bool | None:
        """True: an answer; False: cancelled; None: nothing until the deadline."""
        poller = select.poll()
        poller.register(self._conn.fileno(), select.POLLIN)
        poller.register(self._cancel_fd, select.POLLIN)
        buffer = memoryview(bytearray(1))
        while (left := deadline - time.monotonic()) > 0:
            events = dict(poller.poll(int(left * 1000) + 1))
            if self._cancel_fd in events:
                return False
            try:
                self._conn.recv_into(buffer)
            except BlockingIOError:
                continue
            return True
        return None
