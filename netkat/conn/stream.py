"""A TCP connection that the host's rules never see."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from netkat.conn.connection import Connection

if TYPE_CHECKING:
    from typing_extensions import Buffer


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

    def _after_receive(self) -> None:
        # A read may have opened the window: the update should not wait for a timer.
        self._session.flush()
