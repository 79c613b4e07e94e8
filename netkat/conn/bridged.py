"""A TCP connection as a real socket: one end of a socketpair, and the stack at the other.

Of a kernel connection it is that socket itself.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any

from netkat.conn import socket_options
from netkat.conn.socket_base import Address, spelt
from netkat.stack import Option

if TYPE_CHECKING:
    from netkat.conn.interfaces import Session
    from netkat.stack import Info


NO_LINGER = "SO_LINGER with a time is not supported on as_socket(): its close() cannot wait"

_OF_THE_STACK = frozenset((socket.SO_KEEPALIVE, socket.SO_LINGER))
_OF_THE_PAIR = frozenset(
    (
        socket.SO_RCVBUF,
        socket.SO_SNDBUF,
        socket.SO_RCVTIMEO,
        socket.SO_SNDTIMEO,
        socket.SO_RCVLOWAT,
    )
)


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
        """As TcpConnection.setsockopt, with two differences.

        SO_LINGER must be off or have a time of 0 (close() sends a RST): close() cannot wait,
        since the socketpair would not. SO_RCVBUF, SO_SNDBUF, SO_RCVTIMEO, SO_SNDTIMEO and
        SO_RCVLOWAT are the socketpair's. Errors: OSError (ENOPROTOOPT) for another one,
        (EOPNOTSUPP) for a time.
        """
        if level == socket.SOL_SOCKET and option in _OF_THE_PAIR:
            super().setsockopt(level, option, value, *length)
            return
        if length:
            raise OSError(errno.EINVAL, "an option that is null with a length is not supported")
        super().getsockname()
        endpoint = self._session.endpoint
        before = endpoint.get_option(Option.LINGER)
        socket_options.write(endpoint, self._session.flow, level, option, value)
        if socket_options.lingers(endpoint):
            endpoint.set_option(Option.LINGER, before)
            raise OSError(errno.EOPNOTSUPP, NO_LINGER)

    def getsockopt(self, level: int, option: int, *length: int) -> Any:
        """The counterpart of setsockopt. Errors: OSError."""
        if level == socket.SOL_SOCKET and option not in _OF_THE_STACK:
            return super().getsockopt(level, option, *length)
        super().getsockname()
        endpoint, flow = self._session.endpoint, self._session.flow
        return socket_options.read(endpoint, flow, level, option, *length)

    def info(self) -> Info:
        """As TcpConnection.info(), while the socket is open. Errors: OSError (EBADF), StackError"""
        super().getsockname()
        return self._session.endpoint.info()


def bridge(session: Session, timeout: float | None) -> BridgedSocket:
    """Hand a session over to a new socket. Errors: OSError (EOPNOTSUPP) with SO_LINGER's time."""
    if socket_options.lingers(session.endpoint):
        raise OSError(errno.EOPNOTSUPP, NO_LINGER)
    sock = BridgedSocket(session.hand_over(), session)
    sock.settimeout(timeout)
    return sock
