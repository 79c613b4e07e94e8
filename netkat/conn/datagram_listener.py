"""A UDP port that anybody may write to."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from netkat.conn.connection import Connection
from netkat.conn.datagram import UdpConnection
from netkat.conn.sendmsg import LARGEST
from netkat.conn.socket_base import Address, SocketShaped, spelt

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from netkat.engine.listening import DatagramSession
    from netkat.flow import IPAddress
    from netkat.stack import Endpoint


class UdpListener(SocketShaped):
    """Shaped as a bound datagram socket: recvfrom, sendto, settimeout, fileno, close."""

    _session: DatagramSession
    _endpoint: Endpoint

    def recvfrom(self, bufsize: int = LARGEST) -> tuple[bytes, Address]:
        """One datagram, cut at ``bufsize`` bytes, and its sender.

        Errors: TimedOut, BlockingIOError (timeout 0.0), InterfaceDown, GuardFailed.
        """
        buffer = bytearray(bufsize)
        count, sender = self.recvfrom_into(buffer)
        return bytes(memoryview(buffer)[:count]), sender

    def recvfrom_into(self, buffer: Buffer) -> tuple[int, Address]:
        """The same into a buffer; bytes and sender. Errors: as recvfrom."""
        endpoint = self._endpoint
        count, _, sender, port = self._when_ready(lambda: endpoint.recv_from_into(buffer))
        self._session.received += count
        self._session.prove()
        return count, spelt(sender, port)

    def sendto(self, data: Buffer, address: Address) -> int:
        """One datagram to (host, port), an IP address; its length. Errors: as recvfrom."""
        return self._send_to(data, ip_address(address[0]), address[1])

    def accept(self) -> tuple[UdpConnection, Address]:
        """Wait for the first datagram: a connection with its sender alone, which begins with it.

        The port has one peer from then on, and this listener must not be used any more.
        Errors: as recvfrom.
        """
        data, address = self.recvfrom()
        return self.lock(data, address), address

    def lock(self, first: bytes, address: Address) -> UdpConnection:
        """The connection with the sender of a datagram that was received, which it begins with."""
        peer, port = ip_address(address[0]), address[1]
        self._session.lock(peer, port)
        return _LockedConnection(self._session, first, peer, port)

    def _send_to(self, data: Buffer, peer: IPAddress, port: int) -> int:
        endpoint = self._endpoint
        count = self._when_ready(lambda: endpoint.send_to(data, peer, port), sending=True)
        self._session.sent += count
        return count


class _LockedConnection(UdpConnection):
    """One peer on an endpoint that others can reach too: their datagrams are passed over."""

    _endpoint: Endpoint
    # Not UdpConnection's, which use the endpoint directly: it has no peer, and receives from all.
    send = Connection.send
    recv_into = Connection.recv_into

    def __init__(self, session: DatagramSession, first: bytes, peer: IPAddress, port: int) -> None:
        super().__init__(session)
        self._first: bytes | None = first
        self._peer, self._port = peer, port

    def _receive(self, view: memoryview) -> int:
        if self._first is not None:
            first, self._first = self._first[: len(view)], None
            view[: len(first)] = first
            return len(first)
        while True:
            found = self._when_ready(lambda: self._endpoint.recv_from_into(view))
            count, _, sender, port = found
            if (sender.packed, port) == (self._peer.packed, self._port):
                self._session.received += count
                return count

    def _send(self, data: Buffer, deadline: float | None) -> int:
        endpoint, peer, port = self._endpoint, self._peer, self._port
        count = self._when_ready(
            lambda: endpoint.send_to(data, peer, port), sending=True, deadline=deadline
        )
        self._session.sent += count
        return count
