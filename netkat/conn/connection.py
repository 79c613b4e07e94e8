"""What a TCP connection and a UDP endpoint with a peer have in common: bytes in, bytes out."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from netkat.conn.sendmsg import Messages, refuse_ancillary, refuse_flags, room_in, target
from netkat.conn.socket_base import Address, SocketShaped
from netkat.flow import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer


class Connection(SocketShaped, Messages):
    """Bytes, or datagrams, to one peer and back."""

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        """Read what is there, at most the buffer (or ``nbytes``); how many bytes.

        TCP: 0 is the end of the stream. UDP: one datagram, cut at the buffer; 0 is an
        empty one. Errors: ConnectionReset, TimedOut, BlockingIOError (timeout 0.0),
        InterfaceDown; UDP: Refused, Unreachable, GuardFailed; OSError (EBADF) when closed,
        by another thread as well, (EOPNOTSUPP) for any of the MSG_ flags.
        """
        refuse_flags(flags)
        return self._receive(room_in(buffer, nbytes))

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """As recv_into, at most ``bufsize`` bytes."""
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        buffer = bytearray(bufsize)
        return bytes(memoryview(buffer)[: self.recv_into(buffer, 0, flags)])

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, Address]:
        """As recv, with the peer's address beside it."""
        return self.recv(bufsize, flags), self.getpeername()

    def send(self, data: Buffer, flags: int = 0) -> int:
        """Hand over bytes; returns how many were taken: of TCP at least one, of UDP all.

        Errors: ConnectionReset, BrokenPipeError after shutdown, TimedOut,
        BlockingIOError (timeout 0.0), InterfaceDown; UDP: Refused or Unreachable of
        an earlier datagram, OSError (EMSGSIZE); OSError (EBADF) when closed, (EOPNOTSUPP)
        for any of the MSG_ flags.
        """
        refuse_flags(flags)
        return self._send(data, None)

    def sendmsg(
        self,
        buffers: Iterable[Buffer],
        ancdata: Iterable[tuple[int, int, Buffer]] = (),
        flags: int = 0,
        address: Address | None = None,
    ) -> int:
        """As send, of several buffers in a row: in one datagram, or one piece of the stream.

        Errors: as send and sendto; OSError (EOPNOTSUPP) for ancillary data.
        """
        refuse_ancillary(ancdata)
        data = b"".join(buffers)
        return self.send(data, flags) if address is None else self.sendto(data, flags, address)

    def sendto(self, data: Buffer, flags: int | Address, address: Address | None = None) -> int:
        """As send, for programs that name the peer each time: sendto(data[, flags], address).

        TCP ignores the address (POSIX). Errors: as send; UDP: OSError (EISCONN).
        """
        target(flags, address)
        if self.protocol is Protocol.UDP:
            raise OSError(errno.EISCONN, "the connection has its peer already")
        return self._send(data, None)

    def _send(self, data: Buffer, deadline: float | None) -> int:
        session, timeout = self._session, self._timeout
        return self._when_ready(
            lambda: session.send(data, timeout), sending=True, deadline=deadline
        )

    def _receive(self, view: memoryview) -> int:
        session, timeout = self._session, self._timeout
        count = self._when_ready(lambda: session.receive(view, timeout))
        session.received += count
        self._after_receive()
        return count

    def _receive_from(self, view: memoryview) -> tuple[int, Address]:
        return self._receive(view), self.getpeername()

    def _after_receive(self) -> None:
        """What a kind of connection has to do after each."""
