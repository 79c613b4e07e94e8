"""When a relay is over: one rule each for streams, for datagrams and for idle time.

A rule looks at the two halves and says how it ended, or the monotonic time at which
to look again (None: not before something happens).
"""

from __future__ import annotations

import enum
import errno
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from netkat.commands.relay.drain import LIMIT, open_bytes
from netkat.commands.relay.relay_options import FOR_EVER
from netkat.errors import NetworkError

if TYPE_CHECKING:
    from netkat.commands.relay.directions import Conn, Half, Receiver, Sender

QUIET = 2.0
"""Seconds without input (TCP, after the peer's FIN) or datagram (UDP) that end a relay."""
LAST_WORDS = 1.0
"""Seconds that the peer's last bytes are waited for after sending has failed."""
THREAD_END = 0.1
"""Seconds that a thread has to notice that its connection is closed."""
_WRITING = 0.1
"""Seconds between looks at what is on its way, where nobody tells that it has arrived."""


class Ending(enum.Enum):
    """How a relay ended, where nothing failed."""

    IN_ORDER = "in order"
    IDLE = "idle"
    LINGERED = "time after the end of input is over"
    READER_GONE = "nobody reads the output"
    CANCELLED = "cancelled"


Judged = Ending | float | None


class Rule(Protocol):
    """Looks at a relay, and says whether it is over."""

    def judge(self, now: float) -> Judged: ...
    def judge_faults(self, now: float) -> float | None: ...


class StreamRule:
    """TCP, as relay.py has it. ``named`` turns a half's fault into the one to raise."""

    def __init__(
        self,
        conn: Conn,
        receiver: Receiver,
        sender: Sender | None,
        *,
        terminal: bool,
        linger: float,
        named: Callable[[Exception], Exception],
    ) -> None:
        self._receiver, self._sender, self._terminal = receiver, sender, terminal
        self._named = named
        self._linger = Linger(conn, linger)

    def judge(self, now: float) -> Judged:
        """Errors: what befell a half."""
        look_again = self.judge_faults(now)
        if look_again is not None:
            return look_again
        sender, receiver = self._sender, self._receiver
        if not receiver.ended:
            if sender is None or sender.ended_at is None:
                return None
            return self._linger.judge(now, since=sender.ended_at, writing=receiver.writing)
        if sender is None or sender.ended or self._terminal:
            return Ending.IN_ORDER
        if sender.waiting_since is None:
            return now + QUIET
        assert receiver.ended_at is not None
        over = max(sender.waiting_since, receiver.ended_at) + QUIET
        return Ending.IN_ORDER if now >= over else over

    def judge_faults(self, now: float) -> float | None:
        """What befell a half, raised; or when to look again, as it may mean more. None: nothing."""
        if self._receiver.fault is not None:
            return self._judge_failed_receiver(now)
        if self._sender is not None and self._sender.fault is not None:
            return self._judge_failed_sender(self._sender, now)
        return None

    def _judge_failed_receiver(self, now: float) -> float:
        """The stack tells each fault once: the one who comes second hears "not connected"."""
        fault, sender = self._receiver.fault, self._sender
        assert fault is not None
        if getattr(fault, "errno", None) == errno.ENOTCONN and sender is not None:
            if sender.fault is not None:
                raise self._named(sender.fault)
            if now < self._receiver.fault_at + THREAD_END:
                return self._receiver.fault_at + THREAD_END
        raise self._named(fault)

    def _judge_failed_sender(self, sender: Sender, now: float) -> float:
        """A RST that met the sender first: what the peer said before it is still to be read."""
        fault, receiver = sender.fault, self._receiver
        assert fault is not None
        if not isinstance(fault, NetworkError) or receiver.ended:
            raise self._named(fault)
        over = max(sender.fault_at, receiver.last or 0.0) + LAST_WORDS
        if receiver.writing:
            return now + LAST_WORDS
        if now >= over:
            raise self._named(fault)
        return over


class Linger:
    """-q: some time after the end of input, counted anew while bytes are on their way still."""

    def __init__(self, conn: Conn, seconds: float) -> None:
        self._conn, self._seconds = conn, seconds
        self._unacked = 0
        self._moved_at = -math.inf

    def judge(self, now: float, *, since: float, writing: bool) -> Judged:
        """``since``: the end of input; ``writing``: the output has not taken all that came."""
        if self._seconds == FOR_EVER:
            return None
        over = max(since, self._moved_at) + self._seconds
        if now < over:
            return over
        unacked = open_bytes(self._conn)
        if unacked != self._unacked:
            self._unacked, self._moved_at = unacked, now
        if unacked and now < max(since, self._moved_at) + LIMIT:
            return now + max(self._seconds, _WRITING)
        return now + _WRITING if writing else Ending.LINGERED


class DatagramRule:
    """UDP knows no end of its own: quiet after the end of input, or ``linger`` after it."""

    def __init__(
        self, receiver: Receiver, sender: Sender | None, *, linger: float | None, began: float
    ) -> None:
        self._receiver, self._sender = receiver, sender
        self._linger, self._began = linger, began

    def judge(self, now: float) -> Judged:
        """Errors: what befell a half."""
        self.judge_faults(now)
        receiver, sender = self._receiver, self._sender
        if receiver.ended:
            return Ending.IN_ORDER
        if sender is None or sender.ended_at is None or self._linger == FOR_EVER:
            return None
        if receiver.writing:
            return now + _WRITING
        if self._linger is not None:
            over = sender.ended_at + self._linger
            return Ending.LINGERED if now >= over else over
        over = last_moved(self._began, receiver, sender) + QUIET
        return Ending.IN_ORDER if now >= over else over

    def judge_faults(self, now: float) -> None:
        """Errors: what befell a half."""
        for half in (self._receiver, self._sender):
            if half is not None and half.fault is not None:
                raise half.fault


class IdleRule:
    """-w: nothing moved. Bytes on their way to a slow peer or a slow reader are not idle."""

    def __init__(
        self,
        conn: Conn,
        receiver: Receiver,
        sender: Sender | None,
        *,
        seconds: float,
        began: float,
    ) -> None:
        self._conn, self._receiver, self._sender = conn, receiver, sender
        self._seconds, self._moved_at = seconds, began
        self._unacked = 0

    def judge(self, now: float) -> Judged:
        """Errors: none."""
        over = last_moved(self._moved_at, self._receiver, self._sender) + self._seconds
        if now < over:
            return over
        unacked = open_bytes(self._conn)
        pacing = self._sender is not None and self._sender.pacing
        if self._receiver.writing or pacing or unacked != self._unacked:
            self._moved_at, self._unacked = now, unacked
            return now + self._seconds
        return Ending.IDLE

    def judge_faults(self, now: float) -> None:
        """Not its business."""


def last_moved(began: float, *halves: Half | None) -> float:
    """When the last byte went either way."""
    return max([began, *(half.last for half in halves if half is not None and half.last)])
