"""A TCP connection that the host's rules never see."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from netkat.conn.base import Connection

if TYPE_CHECKING:
    from typing_extensions import Buffer
else:
    Buffer = object


class TcpConnection(Connection):
    """Shaped as a stream socket: recv, recv_into, send, sendall, shutdown, settimeout, close."""

    def recv_into(self, buffer: Buffer, nbytes: int = 0) -> int:
        """Read what is there, at most the buffer (or ``nbytes``); 0 is the end of the stream.

        Errors: ConnectionReset, TimedOut, BlockingIOError (timeout 0.0), InterfaceDown.
        """
        from netkat.stack import StackError

        view = memoryview(buffer)[:nbytes] if nbytes else buffer
        endpoint, session = self._endpoint, self._session
        while True:
            self._check_open()
            try:
                count = endpoint.recv_into(view)
            except BlockingIOError:
                self._await(endpoint.readable_fd())
                continue
            except StackError as error:
                raise session.fault(error) from None
            session.received += count
            # A read may have opened the window: the update should not wait for a timer.
            session.flush()
            return count

    def recv(self, bufsize: int) -> bytes:
        """Read what is there, at most ``bufsize`` bytes; b"" is the end of the stream."""
        buffer = bytearray(bufsize)
        return bytes(memoryview(buffer)[: self.recv_into(buffer)])

    def send(self, data: Buffer) -> int:
        """Hand over bytes; returns how many were taken, at least one.

        Errors: ConnectionReset, BrokenPipeError after shutdown, TimedOut,
        BlockingIOError (timeout 0.0), InterfaceDown.
        """
        from netkat.stack import StackError

        endpoint, session = self._endpoint, self._session
        while True:
            self._check_open()
            try:
                count = endpoint.send(data)
            except BlockingIOError:
                self._await(endpoint.writable_fd())
                continue
            except StackError as error:
                raise session.fault(error) from None
            session.sent += count
            session.flush()
            return count

    def sendall(self, data: Buffer) -> None:
        """Hand over all of it; the timeout holds for each wait."""
        view = memoryview(data).cast("B")
        while view:
            view = view[self.send(view) :]

    def shutdown(self, how: int) -> None:
        """SHUT_WR sends FIN after what is queued; SHUT_RD stops reading; SHUT_RDWR does both."""
        self._check_open()
        self._endpoint.shutdown(how)
        if how != socket.SHUT_RD:
            self._session.flush()
