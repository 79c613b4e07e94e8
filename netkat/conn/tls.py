"""TLS over a connection: Python's ssl on two memory buffers, so that its faults stay the wire's."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any

from netkat.conn import tls_errors
from netkat.conn.deadlines import receive_by
from netkat.conn.socket_base import AlreadyClosed
from netkat.engine.wait import deadline_after
from netkat.errors import ConnectionReset, NetkatError, TimedOut, TlsTruncated
from netkat.flow import Protocol
from netkat.resources import Closeable
from netkat.stack.codes import WireFailed, WouldBlock

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from netkat.conn.socket_base import Address
    from netkat.conn.stream import TcpConnection
    from netkat.stack import Info

_CIPHERTEXT = 1 << 18
"""Bytes read from the connection at once."""
_PLAINTEXT = 1 << 18
"""Bytes encrypted before they are sent: sixteen records."""
HANDSHAKE_TIMEOUT = 10.0
_CONNECTION_ERRORS = (NetkatError, WouldBlock, WireFailed, AlreadyClosed)
"""What a connection raises by itself. OSError would include a signal handler's exception."""


class TlsConnection(Closeable):
    """A TcpConnection's shape over TLS; safe to use from two threads, one each way.

    >>> import ssl
    >>> context = ssl.create_default_context(cafile="authority.pem")
    >>> conn = netkat.create_connection(("10.111.111.129", 443), timeout=5)
    >>> with conn.start_tls(context, server_hostname="peer.test") as tls:
    ...     tls.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    ...     tls.recv(15)
    b'HTTP/1.1 200 OK'

    The end of the stream is the peer's close_notify; an end without one may have been
    forged, and is TlsTruncated. shutdown(SHUT_WR) sends close_notify and FIN, and the
    peer's bytes are read on (RFC 8446, 6.1); a peer that speaks TLS 1.2 may drop what
    it had still to send (RFC 5246, 7.2.1).
    """

    def __init__(
        self,
        conn: TcpConnection,
        context: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
        server_side: bool = False,
    ) -> None:
        self._conn = conn
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_side,
            server_hostname=server_hostname,
        )
        # One call at a time on OpenSSL's object; and records leave in the order that it made them.
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._ciphertext = memoryview(bytearray(_CIPHERTEXT))
        self._unsent = memoryview(b"")
        self._early = b""
        self._first = b""
        self._notified = self._ended = self._fin = False
        self._farewell = 0

    def handshake(
        self, timeout: float | None = HANDSHAKE_TIMEOUT, cancel_fd: int | None = None
    ) -> None:
        """In ``timeout`` seconds. Errors: TlsFailed's kinds, and the connection's own."""
        deadline = deadline_after(timeout)
        try:
            while self._step():
                self._feed(receive_by(self._conn, self._ciphertext, deadline, cancel_fd))
                if self._fin:
                    self._incoming.write_eof()
        except TimedOut:
            raise tls_errors.silent(timeout, bool(self._first)) from None
        except ConnectionReset as error:
            error.message = f"{error.message}, during the TLS handshake"
            raise

    def recv_into(self, buffer: Buffer, nbytes: int = 0) -> int:
        """As TcpConnection.recv_into; 0 is the peer's close_notify.

        Errors: TlsTruncated where the stream ends without, TlsFailed, those of a TcpConnection.
        """
        view = memoryview(buffer).cast("B")
        view = view[:nbytes] if nbytes else view
        while True:
            with self._lock:
                count = self._read(view)
            self._flush_answers()
            if count is not None:
                return count
            if self._fin:
                raise TlsTruncated("the peer ended the connection without close_notify")
            self._feed(self._conn.recv_into(self._ciphertext))

    def recv(self, bufsize: int) -> bytes:
        """As recv_into, at most ``bufsize`` bytes."""
        buffer = bytearray(bufsize)
        return bytes(memoryview(buffer)[: self.recv_into(buffer)])

    def send(self, data: Buffer) -> int:
        """As TcpConnection.send. What was taken may wait for the connection to take it."""
        view = memoryview(data).cast("B")[:_PLAINTEXT]
        with self._sending:
            self._drain()
            with self._lock:
                count = self._encrypt(view)
            with contextlib.suppress(TimedOut, WouldBlock):
                self._drain()
        self._flush_answers()
        return count

    def sendall(self, data: Buffer) -> None:
        """All of it; the timeout holds for each wait. Errors: as send."""
        view = memoryview(data).cast("B")
        while view:
            view = view[self.send(view) :]
        self._flush()

    def shutdown(self, how: int) -> None:
        """SHUT_WR sends close_notify and FIN; SHUT_RD as of a TcpConnection."""
        if how != socket.SHUT_RD:
            self._notify()
            self._flush()
        try:
            self._conn.shutdown(how)
        except OSError as error:
            # A peer that has all it wanted and has gone answers close_notify with a RST.
            if error.errno != errno.ENOTCONN or not self._farewell or self.info().unacked:
                raise

    def close(self) -> None:
        """Let go: with close_notify where it was not sent, and what was sent is delivered."""
        if not self._ended:
            self._ended = True
            try:
                with contextlib.suppress(*_CONNECTION_ERRORS):
                    self._conn.settimeout(0.0)
                    self._notify()
                    self._flush()
            finally:
                self._conn.close()
        else:
            self._conn.close()

    def abort(self) -> None:
        """End at once: the peer gets a RST."""
        self._ended = True
        self._conn.abort()

    def info(self) -> Info:
        """As of the connection; bytes are those on the wire, encrypted.

        close_notify is none of ``unacked``: a peer that has all it wanted, and has gone, resets it.
        """
        info = self._conn.info()
        waiting = len(self._unsent) - self._farewell
        return info._replace(unacked=max(0, info.unacked + waiting)) if waiting else info

    @property
    def protocol(self) -> Protocol:
        """Protocol.TCP: what TLS goes over."""
        return self._conn.protocol

    def pending(self) -> int:
        """Bytes that a recv gives at once, although fileno() does not poll readable."""
        return len(self._early) + self._tls.pending()

    def fileno(self) -> int:
        """The connection's. See pending()."""
        return self._conn.fileno()

    def gettimeout(self) -> float | None:
        """As of the connection."""
        return self._conn.gettimeout()

    def settimeout(self, seconds: float | None) -> None:
        """As of the connection."""
        self._conn.settimeout(seconds)

    def getsockname(self) -> Address:
        """The local address."""
        return self._conn.getsockname()

    def getpeername(self) -> Address:
        """The peer's address."""
        return self._conn.getpeername()

    def version(self) -> str | None:
        """Such as "TLSv1.3"."""
        return self._tls.version()

    def cipher(self) -> tuple[str, str, int] | None:
        """Its name, the protocol that defines it, and its secret bits."""
        return self._tls.cipher()

    def selected_alpn_protocol(self) -> str | None:
        """What both sides agreed to, if anything."""
        return self._tls.selected_alpn_protocol()

    def getpeercert(self, binary_form: bool = False) -> Any:
        """As ssl.SSLSocket.getpeercert."""
        return self._tls.getpeercert(binary_form)

    def __repr__(self) -> str:
        return f"<netkat.TlsConnection {self._tls.version() or 'no TLS yet'} over {self._conn!r}>"

    def _step(self) -> bool:
        """One step of the handshake: does it want to read more? Errors: TlsFailed's kinds."""
        with self._lock:
            fault: NetkatError | None = None
            wants = False
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                wants = True
            except ssl.SSLError as error:
                fault = tls_errors.handshake(error, self._first)
        # The alert that tells the peer why goes out, too.
        if fault is not None:
            with contextlib.suppress(*_CONNECTION_ERRORS):
                self._flush()
            raise fault
        with contextlib.suppress(WouldBlock):
            self._flush()
        return wants

    def _read(self, view: memoryview) -> int | None:
        """Decrypted bytes, 0 at the end; None where more has to be read from the connection."""
        if self._early:
            part, self._early = self._early[: len(view)], self._early[len(view) :]
            view[: len(part)] = part
            return len(part)
        total = 0
        # OpenSSL gives one record a call.
        while total < len(view):
            try:
                count = self._tls.read(len(view) - total, view[total:])
            except ssl.SSLWantReadError:
                return total or None
            except ssl.SSLZeroReturnError:
                return total
            except ssl.SSLError as error:
                if total:
                    return total
                raise tls_errors.stream(error) from None
            if not count:
                return total
            total += int(count)
        return total

    def _encrypt(self, view: memoryview) -> int:
        if self._notified:
            raise BrokenPipeError("close_notify was sent")
        total = 0
        try:
            while total < len(view):
                total += self._tls.write(view[total:])
        except ssl.SSLError as error:
            if not total:
                raise tls_errors.stream(error) from None
        return total

    def _notify(self) -> None:
        """Have OpenSSL write close_notify.

        Python's unwrap() then looks for the peer's, and fails on data: which has been read before.
        """
        with self._lock:
            if self._notified:
                return
            self._notified = True
            early = bytearray(_CIPHERTEXT)
            with contextlib.suppress(NetkatError):
                while count := self._read_on(early):
                    self._early += early[:count]
            before = self._outgoing.pending
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            self._farewell = self._outgoing.pending - before

    def _read_on(self, buffer: bytearray) -> int:
        held, self._early = self._early, b""
        try:
            return self._read(memoryview(buffer)) or 0
        finally:
            self._early = held

    def _feed(self, count: int) -> None:
        with self._lock:
            if len(self._first) < tls_errors.SHOWN:
                self._first += bytes(self._ciphertext[:count][: tls_errors.SHOWN])
            if count:
                self._incoming.write(self._ciphertext[:count])
            else:
                # OpenSSL, told of an end without close_notify, would not write any more either.
                self._fin = True

    def _flush(self) -> None:
        with self._sending:
            self._drain()

    def _flush_answers(self) -> None:
        """Send what reading made OpenSSL produce (a key update, an alert), unless a sender does."""
        while self._outgoing.pending and self._sending.acquire(blocking=False):
            try:
                self._drain()
            except (TimedOut, WouldBlock):
                return
            finally:
                self._sending.release()

    def _drain(self) -> None:
        """All that is encrypted, to the connection; with ``_sending`` held."""
        while self._unsent or self._outgoing.pending:
            if not self._unsent:
                with self._lock:
                    self._unsent = memoryview(self._outgoing.read())
            self._unsent = self._unsent[self._conn.send(self._unsent) :]
