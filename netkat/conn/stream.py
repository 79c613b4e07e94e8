"""A TCP connection that the host's rules never see."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from netkat.conn.connection import Connection

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from netkat.conn.bridged import BridgedSocket


class TcpConnection(Connection):
    """Shaped as a stream socket: recv, recv_into, send, sendall, shutdown, settimeout, close."""

    def sendall(self, data: Buffer) -> None:
        """Hand over all of it; the timeout holds for each wait. Errors: as send."""
        view = memoryview(data).cast("B")
        while view:
            view = view[self.send(view) :]

    def shutdown(self, how: int) -> None:
        """SHUT_WR sends FIN after what is queued; SHUT_RD stops reading; SHUT_RDWR does both."""
        self._check_open()
        self._endpoint.shutdown(how)
        if how != socket.SHUT_RD:
            self._session.flush()

    def as_socket(self) -> BridgedSocket:
        """Hand the connection over to a real socket, for whatever wants one (ssl, asyncio, select).

        This object is done with then, as after socket.detach(): closing the socket closes
        the connection. It is one end of a socketpair, the stack moves the bytes. So it has
        its peer's end of stream, half-close both ways and a RST (ConnectionResetError when
        what came before it was read; a send may give BrokenPipeError instead), but no
        typed errors, and its family is AF_UNIX. ::

            with ssl.create_default_context().wrap_socket(
                netkat.create_connection(("example.org", 443)).as_socket(),
                server_hostname="example.org",
            ) as tls:
                ...

        Errors: OSError (EBADF) when it is closed; StackError.
        """
        from netkat.conn.bridged import bridge

        self._check_open()
        return bridge(self._session, self._timeout)

    def _after_receive(self) -> None:
        # A read may have opened the window: the update should not wait for a timer.
        self._session.flush()
