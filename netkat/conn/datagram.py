"""A UDP endpoint that the host's rules never see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netkat.conn.connection import Connection
from netkat.conn.messages import LARGEST
from netkat.errors import NetworkError

if TYPE_CHECKING:
    from netkat.conn.base import Address


class UdpConnection(Connection):
    """Shaped as a connected datagram socket: one send is one datagram, one recv is one.

    >>> with netkat.open_datagram(("10.111.111.129", 7), timeout=2) as conn:
    ...     conn.send(b"hello")
    ...     conn.recv()
    5
    b'hello'
    """

    def recv(self, bufsize: int = LARGEST, flags: int = 0) -> bytes:
        """One datagram, cut at ``bufsize`` bytes. Errors: as recv_into."""
        return super().recv(bufsize, flags)

    def recvfrom(self, bufsize: int = LARGEST, flags: int = 0) -> tuple[bytes, Address]:
        """As recv, with the peer's address beside it."""
        return super().recvfrom(bufsize, flags)

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
