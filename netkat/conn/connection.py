"""What a TCP connection and a UDP endpoint with a peer have in common: bytes in, bytes out."""

from __future__ import annotations

import errno
from abc import abstractmethod
from typing import TYPE_CHECKING

from netkat.conn.base import Address, SocketShaped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer


class Connection(SocketShaped):
    """Bytes, or datagrams, to one peer and back."""

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        """Read what is there, at most the buffer (or ``nbytes``); how many bytes.

        TCP: 0 is the end of the stream. UDP: one datagram, cut at the buffer; 0 is an
        empty one. Errors: ConnectionReset, TimedOut, BlockingIOError (timeout 0.0),
        InterfaceDown; UDP: Refused, Unreachable, GuardFailed; OSError (EBADF) when closed,
        by another thread as well, (EOPNOTSUPP) for any of the MSG_ flags.
        """
        refuse_flags(flags)
        view = memoryview(buffer).cast("B")
        return self._receive(view[:nbytes] if nbytes else view)

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

        Errors: as send; OSError (EOPNOTSUPP) for ancillary data, (EISCONN) for an address.
        """
        if address is not None:
            raise OSError(errno.EISCONN, "the connection has its peer already")
        if list(ancdata):
            raise OSError(errno.EOPNOTSUPP, "ancillary data is not for this stack")
        return self.send(b"".join(buffers), flags)

    def _send(self, data: Buffer, deadline: float | None) -> int:
        endpoint, session = self._endpoint, self._session
        count = self._when_ready(lambda: endpoint.send(data), sending=True, deadline=deadline)
        session.sent += count
        session.flush()
        return count

    def _receive(self, view: memoryview) -> int:
        endpoint = self._endpoint
        count = self._when_ready(lambda: endpoint.recv_into(view))
        self._session.received += count
        self._after_receive()
        return count

    @abstractmethod
    def _after_receive(self) -> None: ...


def refuse_flags(flags: int) -> None:
    """MSG_PEEK and the like. Errors: OSError (EOPNOTSUPP)."""
    if flags:
        raise OSError(errno.EOPNOTSUPP, f"netkat has none of the MSG_ flags ({flags:#x})")
