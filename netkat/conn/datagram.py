"""A UDP endpoint that the host's rules never see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netkat.conn.connection import Connection
from netkat.conn.sendmsg import LARGEST
from netkat.errors import NetworkError
from netkat.stack.codes import StackError, WireFailed, WouldBlock

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from netkat.conn.socket_base import Address


class UdpConnection(Connection):
    """Shaped as a connected datagram socket: one send is one datagram, one recv is one.

    >>> with netkat.open_datagram(("10.111.111.129", 7), timeout=2) as conn:
    ...     conn.send(b"hello")
    ...     conn.recv()
    5
    b'hello'
    """

    _answered = False
    """Whether a datagram has come, and the guard was checked by it."""

    def recv(self, bufsize: int = LARGEST, flags: int = 0) -> bytes:
        """One datagram, cut at ``bufsize`` bytes. Errors: as recv_into."""
        return super().recv(bufsize, flags)

    def recvfrom(self, bufsize: int = LARGEST, flags: int = 0) -> tuple[bytes, Address]:
        """As recv, with the peer's address beside it."""
        return super().recvfrom(bufsize, flags)

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        """One datagram, cut at the buffer (or ``nbytes``); how many bytes.

        Errors: as Connection.recv_into.
        """
        session = self._session
        if type(buffer) is not bytearray or nbytes or flags or not self._answered or session.ended:
            return super().recv_into(buffer, nbytes, flags)
        try:
            count = self._endpoint.recv_into(buffer)
        except WouldBlock:
            return super().recv_into(buffer)
        except StackError as error:
            self._check_open()  # closed by another thread just now
            raise session.fault(error) from None
        except WireFailed as failed:
            raise self._interface_fault(failed) from None
        if not count:
            self.raise_fault()  # not an empty datagram: the interface has failed
        session.received += count
        return count

    def send(self, data: Buffer, flags: int = 0) -> int:
        """One datagram; its length. Errors: as Connection.send.

        Of datagrams that follow each other at once, several leave together: after 64 of them or
        half a millisecond, and before a receive, a wait or close.
        """
        session = self._session
        if flags or session.ended:
            return super().send(data, flags)
        try:
            return session.send(data, 0.0)
        except WouldBlock:
            return super().send(data)
        except StackError as error:
            self._check_open()  # closed by another thread just now
            raise session.fault(error) from None
        except WireFailed as failed:
            raise self._interface_fault(failed) from None

    def unanswered(self) -> NetworkError | None:
        """Why no datagram has come back so far, where the wire shows it: Hairpin,
        EgressRefused, NextHopSilent, an ICMP error. None for mere silence, or after an answer.

        A recv that runs into its timeout raises it instead of TimedOut.
        """
        self._check_open()
        return self._session.unanswered()

    def _after_receive(self) -> None:
        # The first answer: the guard must have kept it from the kernel.
        self._session.prove()
        self._answered = True
