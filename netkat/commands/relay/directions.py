"""The two directions of a relay, a thread each, so that neither waits for the other."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol, cast

from netkat.commands.relay.stdio import unreadable
from netkat.commands.relay.transforms import Transform, lines
from netkat.conn.send_from_fd import SourceFailed, pouring
from netkat.errors import NetkatError, TlsTruncated
from netkat.flow import Protocol as Transport

if TYPE_CHECKING:
    from netkat.commands.relay.stdio import Input, StopEvent
    from netkat.conn.send_from_fd import Pour

STREAM_BUFFER = 1 << 20
"""Bytes moved at once: a pipe gives 64 KiB, a file and the stack give as much as they have."""
LARGEST_DATAGRAM = 65535
_LF = 0x0A
LARGEST_PAYLOAD = {4: 65507, 6: 65527}
"""65535 less the headers: UDP's 8 bytes and IPv4's own 20 (RFC 768, RFC 791)."""


class TransferState(Protocol):
    """What a relay asks of conn.info()."""

    @property
    def state(self) -> int: ...
    @property
    def unacked(self) -> int: ...
    @property
    def fin_acked(self) -> bool: ...
    @property
    def leaving(self) -> bool: ...


class Conn(Protocol):
    """What a relay asks of a connection."""

    @property
    def protocol(self) -> Transport: ...
    def fileno(self) -> int: ...
    def recv_into(self, buffer: memoryview, nbytes: int = 0) -> int: ...
    def send(self, data: memoryview) -> int: ...
    def settimeout(self, seconds: float | None) -> None: ...
    def info(self) -> TransferState: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class StreamConn(Conn, Protocol):
    """What TCP has on top."""

    def shutdown(self, how: int) -> None: ...


def send_fin(conn: Conn) -> None:
    """The end of what a TCP connection sends. Errors: a RST that has come before, by its name."""
    try:
        cast("StreamConn", conn).shutdown(socket.SHUT_WR)
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise
        conn.send(memoryview(b"\0"))  # nothing leaves any more: this says why
        raise


class Sink(Protocol):
    """Where the peer's bytes go."""

    def write(self, view: memoryview) -> None: ...


class Direction(threading.Thread, ABC):
    """One direction. Its attributes are written by its own thread and read by the relay's.

    ``moved`` bytes, ``last`` the monotonic time of the last of them, ``ended_at``
    when its source came to the end, ``fault`` what broke it. Every change that the
    relay should look at is told through ``wakeup_fd``.
    """

    def __init__(self, name: str, conn: Conn, stop: StopEvent, wakeup_fd: int) -> None:
        # A daemon: one that is stuck in a write that nobody takes must not keep netkat alive.
        super().__init__(name=name, daemon=True)
        # Not `_stop`: threading.Thread has a method of that name.
        self._conn, self._stop_event, self._wakeup_fd = conn, stop, wakeup_fd
        self.moved = 0
        self.last: float | None = None
        self.ended_at: float | None = None
        self.fault: Exception | None = None
        self.fault_at = 0.0

    @property
    def ended(self) -> bool:
        """True when the source of this direction came to its end."""
        return self.ended_at is not None

    def run(self) -> None:
        """The thread's whole life."""
        try:
            self.relay()
        except NetkatError as error:
            # Without tracebacks: they would keep frames alive, and with them memory
            # that cffi has lent to the library, which the interpreter's own end
            # then frees in the wrong order (seen on 3.11: a crash in memoryview's tp_clear).
            error.__context__ = None
            self.fault, self.fault_at = error.with_traceback(None), time.monotonic()
        except Exception as error:
            # Whatever it is: a relay that does not hear of it would wait for ever.
            self.fault, self.fault_at = error, time.monotonic()
        finally:
            os.eventfd_write(self._wakeup_fd, 1)

    @abstractmethod
    def relay(self) -> None:
        """Move bytes until the end, a fault or a stop."""

    def _note(self, count: int) -> None:
        self.moved += count
        self.last = time.monotonic()

    def _end(self) -> None:
        self.ended_at = time.monotonic()


class SendLoop(Direction):
    """Input to peer; the end of input becomes a FIN, unless ``shutdown`` is False.

    ``pending``: bytes read and not yet taken. ``pacing``: it waits for the next line's time.
    ``fin_at``: the moment before the FIN was sent; its answer may be there before the call
    that sent it returns.
    """

    def __init__(
        self,
        conn: Conn,
        source: Input,
        stop: StopEvent,
        wakeup_fd: int,
        *,
        payload: int,
        transform: Transform | None = None,
        interval: float = 0.0,
        shutdown: bool = True,
    ) -> None:
        super().__init__("netkat-send", conn, stop, wakeup_fd)
        self._source, self._payload = source, payload
        self._transform, self._interval, self._shutdown = transform, interval, shutdown
        self.pending = 0
        self.waiting_since: float | None = None
        self.fin_at: float | None = None
        self.pacing = False

    def relay(self) -> None:
        """Until the end of input, or told to stop."""
        stream = self._conn.protocol is Transport.TCP
        pour = pouring(self._conn) if self._is_unmodified() else None
        ended = self._read(stream) if pour is None else self._pour(pour)
        if not ended:
            return
        if stream and self._shutdown:
            self.fin_at = time.monotonic()
            send_fin(self._conn)
        self._end()

    def _is_unmodified(self) -> bool:
        return self._transform is None and not self._interval and self._source.whole

    def _read(self, stream: bool) -> bool:
        """One read is one datagram, or as much of the stream as there is. True at the end."""
        buffer = memoryview(bytearray(STREAM_BUFFER if stream else self._payload))
        while True:
            self.waiting_since = time.monotonic()
            count = self._source.read_into(buffer)
            self.waiting_since = None
            if not count:
                return count == 0
            if self._interval:
                self._send_lines(buffer[:count])
            else:
                self._send(buffer[:count])

    def _pour(self, pour: Pour) -> bool:
        """Leave the reading to the library. True at the end."""
        while True:
            self.waiting_since = time.monotonic()
            if not self._source.wait():
                return False
            self.waiting_since = None
            try:
                poured = pour(self._source.fd)
            except SourceFailed as error:
                raise unreadable(error) from error
            self.pending = poured.lost
            if poured.taken:
                self._note(poured.taken)
            if poured.ended:
                return True

    def _send(self, view: memoryview) -> None:
        if self._transform is not None:
            view = self._transform(view)
        self.pending = len(view)
        while self.pending:
            sent = self._conn.send(view)
            view = view[sent:]
            self.pending = len(view)
            self._note(sent)

    def _send_lines(self, view: memoryview) -> None:
        """``interval`` after each line; the rest of one that was cut follows at once."""
        for line in lines(view):
            self._send(line)
            if line[-1] == _LF:
                self.pacing = True
                self._stop_event.wait(self._interval)
                self.pacing = False
            if self._stop_event.is_set:
                return


class ReceiveLoop(Direction):
    """Peer to output. ``output_closed``: nobody takes the output any more.

    ``truncated``: the peer's end came without TLS's close_notify. It may still read (ncat
    sends a bare FIN at the end of its input), so the other direction goes on. ``limit``:
    so many datagrams are all that is taken.
    """

    def __init__(
        self,
        conn: Conn,
        sink: Sink,
        stop: StopEvent,
        wakeup_fd: int,
        *,
        transform: Transform | None = None,
        limit: int | None = None,
    ) -> None:
        super().__init__("netkat-receive", conn, stop, wakeup_fd)
        self._sink, self._transform, self._limit = sink, transform, limit
        self.writing = False
        self.output_closed = False
        self.truncated: TlsTruncated | None = None

    def relay(self) -> None:
        """Until the peer's FIN; datagrams have no end but the limit."""
        stream = self._conn.protocol is Transport.TCP
        buffer = memoryview(bytearray(STREAM_BUFFER if stream else LARGEST_DATAGRAM))
        left = self._limit
        while not self._stop_event.is_set:
            if left == 0:
                self._end()
                return
            count = self._receive(buffer)
            left = None if left is None else left - 1
            if count == 0 and stream:
                self._end()
                return
            self._note(count)
            self.writing = True
            try:
                view = buffer[:count]
                self._sink.write(view if self._transform is None else self._transform(view))
            except BrokenPipeError:
                self.output_closed = True
                return
            finally:
                self.writing = False

    def _receive(self, buffer: memoryview) -> int:
        try:
            return self._conn.recv_into(buffer)
        except TlsTruncated as error:
            self.truncated = error.with_traceback(None)
            return 0
