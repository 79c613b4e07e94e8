"""A TCP connection that the host's rules never see."""

from __future__ import annotations

import errno
import operator
import os
import socket
from typing import IO, TYPE_CHECKING, Any, cast

from netkat.conn.connection import Connection
from netkat.conn.sendmsg import refuse_flags
from netkat.engine.wait import deadline_after
from netkat.stack.codes import WireFailed

if TYPE_CHECKING:
    import ssl

    from typing_extensions import Buffer

    from netkat.conn.bridged import BridgedSocket
    from netkat.conn.tls import TlsConnection

_CHUNK = 262_144
"""Bytes of a file that sendfile has in hand."""


class TcpConnection(Connection):
    """Shaped as a stream socket, and as safe to use from several threads.

    >>> with netkat.create_connection(("10.111.111.129", 80), timeout=2) as conn:
    ...     conn.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    ...     with conn.makefile("rb") as file:
    ...         file.readline()
    ...     conn.info().rtt > 0  # microseconds
    b'HTTP/1.1 200 OK\\r\\n'
    True

    What wants a socket.socket, such as ssl, gets one from as_socket().
    """

    def sendall(self, data: Buffer, flags: int = 0) -> None:
        """Hand over all of it, in the time of one timeout (as socket.sendall). Errors: as send.

        After an error there is no telling how much the peer has read.
        """
        refuse_flags(flags)
        view = memoryview(data).cast("B")
        deadline = deadline_after(self._timeout) if self._timeout else None
        while view:
            view = view[self._send(view, deadline) :]

    def sendfile(self, file: IO[bytes], offset: int = 0, count: int | None = None) -> int:
        """A file's bytes from ``offset`` on, all or ``count`` of them; how many were sent.

        As socket.sendfile: the file position is after the last byte sent, also after
        an error. Errors: as send, a timeout each; ValueError for a file of text, a timeout of
        0.0 or a senseless count.
        """
        if self._timeout == 0.0:
            raise ValueError("sendfile waits: not with a timeout of 0.0")
        if "b" not in getattr(file, "mode", "b"):
            raise ValueError("sendfile takes a file of bytes, opened with mode 'b'")
        if count is not None and operator.index(count) <= 0:
            raise ValueError(f"count must be a positive integer, not {count}")
        if offset:
            file.seek(offset)
        sent, unsent = 0, memoryview(b"")
        try:
            while count is None or sent < count:
                size = _CHUNK if count is None else min(_CHUNK, count - sent)
                unsent = memoryview(file.read(size))
                if not unsent:
                    break
                while unsent:
                    taken = self._send(unsent, None)
                    sent, unsent = sent + taken, unsent[taken:]
        finally:
            if unsent:
                file.seek(-len(unsent), os.SEEK_CUR)
        return sent

    def shutdown(self, how: int) -> None:
        """SHUT_WR sends FIN after what is queued; SHUT_RD stops reading; SHUT_RDWR does both.

        Errors: OSError (ENOTCONN) where the connection is over, (EBADF) when closed, (EINVAL)
        for another number.
        """
        if how not in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            raise OSError(errno.EINVAL, f"{how}: neither SHUT_RD, SHUT_WR nor SHUT_RDWR")
        self._check_open()
        try:
            self._endpoint.shutdown(how)
        except WireFailed as failed:
            raise self._interface_fault(failed) from None

    def makefile(
        self,
        mode: str = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """A file over the connection, as socket.makefile. The connection lives until both
        are closed. Errors of its reads and writes: as recv_into and send.
        """
        self._check_open()
        # Plain Python over recv_into and send, with a count of files that it keeps here.
        make: Any = socket.socket.makefile
        kinds = {"encoding": encoding, "errors": errors, "newline": newline}
        return cast("IO[Any]", make(self, mode, buffering, **kinds))

    def as_socket(self) -> BridgedSocket:
        """Hand the connection over to a real socket, for whatever wants one (ssl, asyncio, select).

        This object is done with then, as after socket.detach(): closing the socket closes
        the connection. It is one end of a socketpair, the stack moves the bytes. So it has
        its peer's end of stream, half-close both ways and a RST (ConnectionResetError when
        what came before it was read; a send may give BrokenPipeError instead), but no
        typed errors, and its family is AF_UNIX.

        >>> import ssl
        >>> context = ssl.create_default_context(cafile="authority.pem")
        >>> sock = netkat.create_connection(("10.111.111.129", 443), timeout=5).as_socket()
        >>> with context.wrap_socket(sock, server_hostname="peer.test") as tls:
        ...     tls.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        ...     tls.recv(15)
        b'HTTP/1.1 200 OK'

        Errors: OSError (EBADF) when it is closed; StackError.
        """
        from netkat.conn.bridged import bridge

        self._check_open()
        return bridge(self._session, self._timeout)

    def start_tls(
        self,
        context: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
        server_side: bool = False,
        timeout: float | None = 10.0,
    ) -> TlsConnection:
        """TLS over the connection from here on, with typed errors; ``timeout`` is the handshake's.

        The result is to be used in place of this, and closed. What wants an ssl.SSLSocket
        has as_socket(). Errors: TlsFailed and its kinds; the connection is aborted then.
        """
        from netkat.conn.tls import TlsConnection

        tls = TlsConnection(self, context, server_hostname=server_hostname, server_side=server_side)
        try:
            tls.handshake(timeout)
        except BaseException:
            self.abort()
            raise
        return tls

    # What socket.makefile's files call, by these names (Lib/socket.py).

    @property
    def _io_refs(self) -> int:
        return self._files

    @_io_refs.setter
    def _io_refs(self, count: int) -> None:
        self._files = count

    def _decref_socketios(self) -> None:
        self._files -= 1
        if self._closed:
            self.close()
