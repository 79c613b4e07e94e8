"""When a relay ends: one rule each for streams, for datagrams and for idle time.

A rule reads the state of the two directions. It returns why the relay ends, or the monotonic
time of the next check (None: after the next event).
"""

from __future__ import annotations

import enum
import errno
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from netkat.commands.relay.drain import LIMIT, unacked_bytes
from netkat.commands.relay.relay_options import FOR_EVER
from netkat.errors import NetworkError

if TYPE_CHECKING:
    from netkat.commands.relay.directions import Conn, Direction, ReceiveLoop, SendLoop

QUIET_TIME = 2.0
"""Seconds without input (TCP, after the peer's FIN) or datagram (UDP) that end a relay."""
FINAL_READ_TIME = 1.0
"""Seconds to wait for the peer's last data after sending has failed."""
THREAD_END = 0.1
"""Seconds until a thread has noticed that its connection is closed."""
_WRITING = 0.1
"""Seconds between checks of data in flight: the stack does not report its arrival."""


class StopReason(enum.Enum):
    """Why a relay ended without an error; the values are those of the JSON."""

    CLOSED = "closed"
    IDLE_TIMEOUT = "idle_timeout"
    LINGER_TIMEOUT = "linger_timeout"
    OUTPUT_CLOSED = "output_closed"
    CANCELLED = "cancelled"


Decision = StopReason | float | None


class StopRule(Protocol):
    """Decides whether a relay is over."""

    def evaluate(self, now: float) -> Decision: ...
    def check_errors(self, now: float) -> float | None: ...


class StreamRule:
    """TCP, as relay.py has it. ``to_error`` converts the error of a direction."""

    def __init__(
        self,
        conn: Conn,
        receiver: ReceiveLoop,
        sender: SendLoop | None,
        *,
        terminal: bool,
        linger: float,
        to_error: Callable[[Exception], Exception],
    ) -> None:
        self._receiver, self._sender, self._terminal = receiver, sender, terminal
        self._to_error = to_error
        self._linger = LingerTimer(conn, linger)

    def evaluate(self, now: float) -> Decision:
        """Return why the relay ends or when to check again. Errors: a direction's error."""
        look_again = self.check_errors(now)
        if look_again is not None:
            return look_again
        sender, receiver = self._sender, self._receiver
        if not receiver.ended:
            if sender is None or sender.ended_at is None:
                return None
            return self._linger.evaluate(now, since=sender.ended_at, writing=receiver.writing)
        if sender is None or sender.ended or self._terminal:
            return StopReason.CLOSED
        if sender.waiting_since is None:
            return now + QUIET_TIME
        assert receiver.ended_at is not None
        over = max(sender.waiting_since, receiver.ended_at) + QUIET_TIME
        return StopReason.CLOSED if now >= over else over

    def check_errors(self, now: float) -> float | None:
        """Raise a direction's error, or return the time of the next check, or None."""
        if self._receiver.fault is not None:
            return self._check_failed_receiver(now)
        if self._sender is not None and self._sender.fault is not None:
            return self._check_failed_sender(self._sender, now)
        return None

    def _check_failed_receiver(self, now: float) -> float:
        """Raise the first error: the stack reports it once, and ENOTCONN to the other direction."""
        fault, sender = self._receiver.fault, self._sender
        assert fault is not None
        if getattr(fault, "errno", None) == errno.ENOTCONN and sender is not None:
            if sender.fault is not None:
                raise self._to_error(sender.fault)
            if now < self._receiver.fault_at + THREAD_END:
                return self._receiver.fault_at + THREAD_END
        raise self._to_error(fault)

    def _check_failed_sender(self, sender: SendLoop, now: float) -> float:
        """Raise the sender's error after the data that the peer sent before its RST is read."""
        fault, receiver = sender.fault, self._receiver
        assert fault is not None
        if not isinstance(fault, NetworkError) or receiver.ended:
            raise self._to_error(fault)
        over = max(sender.fault_at, receiver.last or 0.0) + FINAL_READ_TIME
        if receiver.writing:
            return now + FINAL_READ_TIME
        if now >= over:
            raise self._to_error(fault)
        return over


class LingerTimer:
    """-q: time after EOF on stdin; it restarts while data is in flight."""

    def __init__(self, conn: Conn, seconds: float) -> None:
        self._conn, self._seconds = conn, seconds
        self._unacked = 0
        self._moved_at = -math.inf

    def evaluate(self, now: float, *, since: float, writing: bool) -> Decision:
        """``since``: the time of EOF; ``writing``: received data is not written yet."""
        if self._seconds == FOR_EVER:
            return None
        over = max(since, self._moved_at) + self._seconds
        if now < over:
            return over
        unacked = unacked_bytes(self._conn)
        if unacked != self._unacked:
            self._unacked, self._moved_at = unacked, now
        if unacked and now < max(since, self._moved_at) + LIMIT:
            return now + max(self._seconds, _WRITING)
        return now + _WRITING if writing else StopReason.LINGER_TIMEOUT


class DatagramRule:
    """UDP has no FIN: the relay ends QUIET_TIME, or ``linger``, after EOF on stdin."""

    def __init__(
        self, receiver: ReceiveLoop, sender: SendLoop | None, *, linger: float | None, began: float
    ) -> None:
        self._receiver, self._sender = receiver, sender
        self._linger, self._began = linger, began

    def evaluate(self, now: float) -> Decision:
        """Return why the relay ends or when to check again. Errors: a direction's error."""
        self.check_errors(now)
        receiver, sender = self._receiver, self._sender
        if receiver.ended:
            return StopReason.CLOSED
        if sender is None or sender.ended_at is None or self._linger == FOR_EVER:
            return None
        if receiver.writing:
            return now + _WRITING
        if self._linger is not None:
            over = sender.ended_at + self._linger
            return StopReason.LINGER_TIMEOUT if now >= over else over
        over = last_moved(self._began, receiver, sender) + QUIET_TIME
        return StopReason.CLOSED if now >= over else over

    def check_errors(self, now: float) -> None:
        """Return why the relay ends or when to check again. Errors: a direction's error."""
        for direction in (self._receiver, self._sender):
            if direction is not None and direction.fault is not None:
                raise direction.fault


class IdleRule:
    """-w: no data in either direction. Data in flight to a slow peer or reader counts as data."""

    def __init__(
        self,
        conn: Conn,
        receiver: ReceiveLoop,
        sender: SendLoop | None,
        *,
        seconds: float,
        began: float,
    ) -> None:
        self._conn, self._receiver, self._sender = conn, receiver, sender
        self._seconds, self._moved_at = seconds, began
        self._unacked = 0

    def evaluate(self, now: float) -> Decision:
        """Errors: none."""
        over = last_moved(self._moved_at, self._receiver, self._sender) + self._seconds
        if now < over:
            return over
        unacked = unacked_bytes(self._conn)
        pacing = self._sender is not None and self._sender.pacing
        if self._receiver.writing or pacing or unacked != self._unacked:
            self._moved_at, self._unacked = now, unacked
            return now + self._seconds
        return StopReason.IDLE_TIMEOUT

    def check_errors(self, now: float) -> None:
        """Do nothing."""


def last_moved(began: float, *directions: Direction | None) -> float:
    """Return the time of the last byte in either direction."""
    return max(
        [
            began,
            *(
                direction.last
                for direction in directions
                if direction is not None and direction.last
            ),
        ]
    )
