"""A TCP listener that the host's rules never see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netkat.conn.base import Address, SocketShaped
from netkat.conn.stream import TcpConnection

if TYPE_CHECKING:
    from typing_extensions import Self

    from netkat.engine.listening import ListeningSession


class TcpListener(SocketShaped):
    """Shaped as a listening socket: accept, settimeout, fileno, close; iterating accepts."""

    _session: ListeningSession

    def accept(self) -> tuple[TcpConnection, Address]:
        """Wait for a client: its connection and its address.

        Errors: TimedOut, BlockingIOError (timeout 0.0), InterfaceDown.
        """
        while True:
            self._check_open()
            try:
                session = self._session.accept()
            except BlockingIOError:
                self._await(self._endpoint.readable_fd())
                continue
            conn = TcpConnection(session)
            return conn, conn.getpeername()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[TcpConnection, Address]:
        return self.accept()
