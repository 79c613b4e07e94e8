"""A TCP connection as a real socket: one end of a socketpair, and the stack at the other."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from netkat.conn.base import Address, spelt

if TYPE_CHECKING:
    from netkat.engine.session import Session
    from netkat.stack import Info


class BridgedSocket(socket.socket):
    """What TcpConnection.as_socket() gives: a socket.socket in all, with the connection's names.

    ::

        sock = netkat.create_connection(("10.111.111.129", 80)).as_socket()
        sock.getpeername()  # ("10.111.111.129", 80)
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

    def info(self) -> Info:
        """As TcpConnection.info(), while the socket is open. Errors: OSError (EBADF), StackError"""
        super().getsockname()
        return self._session.endpoint.info()


def bridge(session: Session, timeout: float | None) -> BridgedSocket:
    """Hand a session over to a new socket."""
    mine, stacks = socket.socketpair()
    try:
        # The byte that gostack.h asks for: what a RST is told by.
        mine.send(b"\0")
        session.bridge(stacks.fileno())
        stacks.detach()
        sock = BridgedSocket(mine.detach(), session)
    finally:
        mine.close()
        stacks.close()
    sock.settimeout(timeout)
    return sock
