"""The two directions of a relay, one thread each, so that neither waits for the other."""

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
    """The fields of conn.info() that a relay reads."""

    @property
    def state(self) -> int: ...
    @property
    def unacked(self) -> int: ...
    @property
    def fin_acked(self) -> bool: ...
    @property
    def leaving(self) -> bool: ...


class Conn(Protocol):
    """The methods of a connection that a relay calls."""

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
    """The additional methods of TCP."""

    def shutdown(self, how: int) -> None: ...


def send_fin(conn: Conn) -> None:
    """Send FIN. Errors: ConnectionReset if a RST was received before."""
    try:
        cast("StreamConn", conn).shutdown(socket.SHUT_WR)
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise
        conn.send(memoryview(b"\0"))  # fails, and reports why
        raise


class Sink(Protocol):
    """Takes received data."""

    def write(self, view: memoryview) -> None: ...


class Direction(threading.Thread, ABC):
    """One direction. Its own thread writes the attributes, the relay's thread reads them.

    ``moved``: bytes copied; ``last``: monotonic time of the last one; ``ended_at``: time of EOF;
    ``fault``: the error. ``wakeup_fd`` wakes the relay after a change.
    """

    def __init__(self, name: str, conn: Conn, stop: StopEvent, wakeup_fd: int) -> None:
        # A daemon: a write to a stalled stdout must not keep netkat alive.
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
        """True after EOF of this direction."""
        return self.ended_at is not None

    def run(self) -> None:
        """Run the thread: relay, and keep the error."""
        try:
            self.relay()
        except NetkatError as error:
            # Without tracebacks: they would keep frames alive, and with them memory
            # that cffi has lent to the library, which the interpreter's own end
            # then frees in the wrong order (seen on 3.11: a crash in memoryview's tp_clear).
            error.__context__ = None
            self.fault, self.fault_at = error.with_traceback(None), time.monotonic()
        except Exception as error:
            # Any error: without a wake-up the relay would wait forever.
            self.fault, self.fault_at = error, time.monotonic()
        finally:
            os.eventfd_write(self._wakeup_fd, 1)

    @abstractmethod
    def relay(self) -> None:
        """Copy data until EOF, an error or a stop."""

    def _note(self, count: int) -> None:
        self.moved += count
        self.last = time.monotonic()

    def _end(self) -> None:
        self.ended_at = time.monotonic()


class SendLoop(Direction):
    """Copies input to the peer; EOF sends FIN, unless ``shutdown`` is False.

    ``pending``: bytes read and not accepted yet. ``pacing``: waiting to send the next line.
    ``fin_at``: time before the FIN was sent; the reply may arrive before the call returns.
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
        """Copy until EOF or a stop, then send FIN."""
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
        """Send each read: one datagram, or the available data of a stream. True at EOF."""
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
        """Let the library read the descriptor. True at EOF."""
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
        """Wait ``interval`` after each line; the rest of a split line follows at once."""
        for line in lines(view):
            self._send(line)
            if line[-1] == _LF:
                self.pacing = True
                self._stop_event.wait(self._interval)
                self.pacing = False
            if self._stop_event.is_set:
                return


class ReceiveLoop(Direction):
    """Copies received data to the output. ``output_closed``: the reader of the output is gone.

    ``truncated``: the peer closed without TLS close_notify. It may still read (ncat sends a bare
    FIN at EOF), so the other direction continues. ``limit``: number of datagrams to receive.
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
        """Copy until the peer's FIN, or the limit of datagrams."""
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
