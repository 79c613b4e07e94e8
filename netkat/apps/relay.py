"""Standard input to the peer, the peer to standard output, and when that is over.

A thread each way moves the bytes; the calling thread waits for what they tell,
for the clock and for the cancel descriptor, in poll(2) and nowhere else.

When a TCP relay ends:

- The end of input sends FIN; the peer is read on until its own FIN.
- The peer's FIN ends it at once where input is a terminal, at its end, or not
  read. From a pipe or a file it goes on sending until the end of input, a RST,
  or QUIET seconds without input: a peer that half-closed still reads, and one
  that has gone answers the next segment with RST.
- Either way it does not return before the last byte and the FIN are
  acknowledged (delivery.py).

UDP knows no end of its own: once input has ended, it is over QUIET seconds after
the last datagram either way.
"""

from __future__ import annotations

import enum
import errno
import os
import select
import time

from netkat.apps.delivery import Delivery, open_bytes
from netkat.apps.halves import LARGEST_PAYLOAD, Conn, Half, Receiver, Sender
from netkat.apps.stdio import Input, Output, Stop
from netkat.errors import ConnectionReset, NetworkError, Undelivered
from netkat.flow import Protocol

QUIET = 2.0
"""Seconds without input (TCP, after the peer's FIN) or datagram (UDP) that end a relay."""
LAST_WORDS = 1.0
"""Seconds that the peer's last bytes are waited for after sending has failed."""
THREAD_END = 0.1
"""Seconds that a thread has to notice that its connection is closed."""


class Ending(enum.Enum):
    """How a relay ended, where nothing failed."""

    IN_ORDER = "in order"
    IDLE = "idle"
    READER_GONE = "nobody reads the output"
    CANCELLED = "cancelled"


class Relay:
    """One connection between ``stdin`` (None: not read) and ``stdout``, both descriptors.

    ``cancel_fd`` ends it when it polls readable; ``idle`` seconds without a
    byte either way end it, None is for ever. The connection stays open: after
    run() the caller closes it.
    """

    def __init__(
        self,
        conn: Conn,
        *,
        stdin: int | None,
        stdout: int,
        cancel_fd: int,
        idle: float | None = None,
        version: int = 4,
    ) -> None:
        self._conn, self._cancel_fd, self._idle = conn, cancel_fd, idle
        self._stream = conn.protocol is Protocol.TCP
        self._stop = Stop()
        self._nudge = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._receiver = Receiver(conn, Output(stdout, self._stop), self._stop, self._nudge)
        self._sender: Sender | None = None
        self._terminal = False
        if stdin is not None:
            source = Input(stdin, self._stop)
            self._terminal = source.terminal
            payload = LARGEST_PAYLOAD[version]
            self._sender = Sender(conn, source, self._stop, self._nudge, payload)
        self._began = time.monotonic()
        self._acked_at = self._began
        self._unacked = 0

    @property
    def sent(self) -> int:
        """Bytes that the connection has taken from the input."""
        return self._sender.moved if self._sender is not None else 0

    @property
    def received(self) -> int:
        """Bytes that came from the peer."""
        return self._receiver.moved

    @property
    def in_hand(self) -> int:
        """Bytes read from the input that the connection has not taken yet."""
        return self._sender.in_hand if self._sender is not None else 0

    @property
    def peer_closed_after_us(self) -> bool:
        """True where the peer closed without a byte, and only after our own end of input."""
        ours = self._sender.ended_at if self._sender is not None else None
        theirs = self._receiver.ended_at
        return ours is not None and theirs is not None and ours <= theirs and not self.received

    def run(self) -> Ending:
        """Relay until it is over. Errors: any NetworkError, LocalStreamFailed, Undelivered."""
        self._conn.settimeout(None)
        for half in self._halves():
            half.start()
        try:
            ending = self._supervise()
            self._stop.ask()
            if ending is not Ending.CANCELLED and self._stream:
                return self._deliver(ending)
            return ending
        finally:
            if not self._stop.asked:
                self._stop.ask()

    def close(self) -> None:
        """Give back what run() used; for after the connection is closed, which wakes its threads.

        A thread that is stuck in a write that nobody takes keeps its descriptors.
        """
        for half in self._halves():
            if half.ident is not None:
                half.join(THREAD_END)
        if not any(half.is_alive() for half in self._halves()) and self._nudge >= 0:
            os.close(self._nudge)
            self._stop.close()
            self._nudge = -1

    def _halves(self) -> list[Half]:
        return [self._receiver] if self._sender is None else [self._receiver, self._sender]

    def _supervise(self) -> Ending:
        poller = select.poll()
        poller.register(self._cancel_fd, select.POLLIN)
        poller.register(self._nudge, select.POLLIN)
        while True:
            now = time.monotonic()
            judged = self._judge(now)
            if isinstance(judged, Ending):
                return judged
            # Rounded up, or the last millisecond would be spent spinning.
            timeout = None if judged is None else max(0, int((judged - now) * 1000) + 1)
            for descriptor, _ in poller.poll(timeout):
                if descriptor == self._cancel_fd:
                    return Ending.CANCELLED
                os.eventfd_read(self._nudge)

    def _judge(self, now: float) -> Ending | float | None:
        """Is it over? Else when to look again; None: not before something happens."""
        if self._receiver.reader_gone:
            return Ending.READER_GONE
        over = self._judge_stream(now) if self._stream else self._judge_datagrams(now)
        if isinstance(over, Ending):
            return over
        idle = self._judge_idle(now)
        if isinstance(idle, Ending):
            return idle
        moments = [moment for moment in (over, idle) if moment is not None]
        return min(moments, default=None)

    def _judge_stream(self, now: float) -> Ending | float | None:
        sender, receiver = self._sender, self._receiver
        if receiver.fault is not None:
            return self._judge_failed_receiver(now)
        if sender is not None and sender.fault is not None:
            return self._judge_failed_sender(sender, now)
        if not receiver.ended:
            return None
        if sender is None or sender.ended or self._terminal:
            return Ending.IN_ORDER
        if sender.waiting_since is None:
            return now + QUIET
        assert receiver.ended_at is not None
        over = max(sender.waiting_since, receiver.ended_at) + QUIET
        return Ending.IN_ORDER if now >= over else over

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

    def _judge_datagrams(self, now: float) -> Ending | float | None:
        for half in self._halves():
            if half.fault is not None:
                raise half.fault
        if self._sender is None or not self._sender.ended:
            return None
        if self._receiver.writing:
            return now + QUIET
        over = self._last_activity() + QUIET
        return Ending.IN_ORDER if now >= over else over

    def _judge_idle(self, now: float) -> Ending | float | None:
        """-w: nothing moved. Bytes on their way to a slow peer or a slow reader are not idle."""
        if self._idle is None:
            return None
        over = max(self._last_activity(), self._acked_at) + self._idle
        if now < over:
            return over
        unacked = open_bytes(self._conn) if self._stream else 0
        if self._receiver.writing or unacked != self._unacked:
            self._acked_at, self._unacked = now, unacked
            return now + self._idle
        return Ending.IDLE

    def _last_activity(self) -> float:
        return max([self._began, *(half.last for half in self._halves() if half.last is not None)])

    def _deliver(self, ending: Ending) -> Ending:
        delivery = Delivery(
            self._conn, cancel_fd=self._cancel_fd, sender=self._sender, nudge_fd=self._nudge
        )
        if ending is Ending.IDLE:
            assert self._idle is not None
            done = delivery.wait(self._idle, needs_fin=False)
        else:
            done = delivery.wait()
        return ending if done else Ending.CANCELLED

    def _named(self, fault: Exception) -> Exception:
        """A reset says how much it cost."""
        if not isinstance(fault, ConnectionReset):
            return fault
        count = open_bytes(self._conn) + self.in_hand
        if not count:
            return fault
        return Undelivered(f"{fault.message}; {count} bytes were not delivered", count=count)
