"""A UDP endpoint that the host's rules never see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netkat.conn.base import Connection

if TYPE_CHECKING:
    from typing_extensions import Buffer
else:
    Buffer = object

LARGEST = 65535
"""Bytes: no datagram is larger (RFC 768: a 16-bit length)."""


class UdpConnection(Connection):
    """Shaped as a connected datagram socket: one send is one datagram, one recv is one."""

    def recv_into(self, buffer: Buffer, nbytes: int = 0) -> int:
        """One datagram, cut at the buffer (or ``nbytes``); 0 is an empty datagram.

        Errors: Refused (ICMP port unreachable), Unreachable, TimedOut,
        BlockingIOError (timeout 0.0), InterfaceDown, GuardFailed.
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
            session.prove()
            return count

    def recv(self, bufsize: int = LARGEST) -> bytes:
        """One datagram, cut at ``bufsize`` bytes."""
        buffer = bytearray(bufsize)
        return bytes(memoryview(buffer)[: self.recv_into(buffer)])

    def send(self, data: Buffer) -> int:
        """One datagram; returns its length in bytes.

        Errors: Refused, Unreachable (of an earlier one), OSError (EMSGSIZE),
        TimedOut, BlockingIOError (timeout 0.0), InterfaceDown.
        """
        from netkat.stack import StackError

        endpoint, session = self._endpoint, self._session
        while True:
            self._check_open()
            try:
                count = endpoint.send(data)
            except BlockingIOError:
                session.flush()
                self._await(endpoint.writable_fd())
                continue
            except StackError as error:
                raise session.fault(error) from None
            session.sent += count
            session.flush()
            return count
