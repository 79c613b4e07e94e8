"""A TCP connection as a real socket: one end of a socketpair, and the stack at the other.

Of a kernel connection it is that socket itself.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from netkat.conn import options
from netkat.conn.base import Address, spelt

if TYPE_CHECKING:
    from netkat.conn.session import Session
    from netkat.stack import Info


class BridgedSocket(socket.socket):
    """What TcpConnection.as_socket() gives: a socket.socket in all, with the connection's names.

    >>> with netkat.create_connection(("10.111.111.129", 80)).as_socket() as sock:
    ...     sock.getpeername()
    ('10.111.111.129', 80)
    """

    def __init__(self, descriptor: int, session: Session) -> None:
        super().__init__(fileno=descriptor)
        self._session = session

    def getpeername(self) -> Address:
        """The peer's address, as of an Internet socket. Errors: OSError (EBADF) when closed."""
        super().getpeername()
        flow = self._session.flow
        return spelt(flow.remote, flow.remote_port)

    def getsockname(self) -> Address:
        """The local address, as of an Internet socket. Errors: OSError (EBADF) when closed."""
        super().getsockname()
        flow = self._session.flow
        return spelt(flow.local, flow.local_port)

    def setsockopt(self, level: int, option: int, value: Any, *length: int) -> None:
        """As TcpConnection.setsockopt, but for SOL_SOCKET: of that SO_KEEPALIVE alone, and all
        else (buffer sizes) is the socketpair's. Errors: OSError.
        """
        if self._is_the_stacks(level, option) and not length:
            super().getsockname()
            options.write(self._session.endpoint, self._session.flow, level, option, value)
        else:
            super().setsockopt(level, option, value, *length)

    def getsockopt(self, level: int, option: int, *length: int) -> Any:
        """The counterpart of setsockopt. Errors: OSError."""
        if not self._is_the_stacks(level, option):
            return super().getsockopt(level, option, *length)
        super().getsockname()
        return options.read(self._session.endpoint, self._session.flow, level, option, *length)

    def info(self) -> Info:
        """As TcpConnection.info(), while the socket is open. Errors: OSError (EBADF), StackError"""
        super().getsockname()
        return self._session.endpoint.info()

    @staticmethod
    def _is_the_stacks(level: int, option: int) -> bool:
        return level != socket.SOL_SOCKET or option == socket.SO_KEEPALIVE


def bridge(session: Session, timeout: float | None) -> BridgedSocket:
    """Hand a session over to a new socket."""
    sock = BridgedSocket(session.hand_over(), session)
    sock.settimeout(timeout)
    return sock
