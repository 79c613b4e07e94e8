"""A TCP listener that the host's rules never see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netkat.conn.socket_base import Address, SocketShaped
from netkat.conn.stream import TcpConnection

if TYPE_CHECKING:
    from typing_extensions import Self

    from netkat.engine.listening import ListeningSession


class TcpListener(SocketShaped):
    """Shaped as a listening socket: accept, settimeout, fileno, close; iterating accepts.

    >>> with netkat.create_server(("", 8081)) as listener:
    ...     for conn, address in listener:
    ...         with conn:
    ...             conn.sendall(f"you come from {address[0]}".encode())
    ...         break  # one client is enough here
    """

    _session: ListeningSession

    def accept(self) -> tuple[TcpConnection, Address]:
        """Wait for a client: its connection and its address.

        The connection's timeout is None, as in the socket module. Errors: TimedOut,
        BlockingIOError (timeout 0.0), InterfaceDown, GuardFailed; OSError (EBADF) when
        closed, by another thread as well.
        """
        conn = TcpConnection(self._when_ready(self._session.accept))
        return conn, conn.getpeername()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[TcpConnection, Address]:
        return self.accept()
