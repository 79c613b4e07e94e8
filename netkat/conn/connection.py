"""What a TCP connection and a UDP endpoint with a peer have in common: bytes in, bytes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from netkat.conn.base import SocketShaped
from netkat.stack.codes import StackError

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Connection(SocketShaped, ABC):
    """Bytes, or datagrams, to one peer and back."""

    def recv_into(self, buffer: Buffer, nbytes: int = 0) -> int:
        """Read what is there, at most the buffer (or ``nbytes``).

        TCP: 0 is the end of the stream. UDP: one datagram, cut at the buffer; 0 is an
        empty one. Errors: ConnectionReset, TimedOut, BlockingIOError (timeout 0.0),
        InterfaceDown; UDP: Refused, Unreachable, GuardFailed.
        """
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
            self._after_receive()
            return count

    def recv(self, bufsize: int) -> bytes:
        """As recv_into, at most ``bufsize`` bytes."""
        buffer = bytearray(bufsize)
        return bytes(memoryview(buffer)[: self.recv_into(buffer)])

    def send(self, data: Buffer) -> int:
        """Hand over bytes; returns how many were taken: of TCP at least one, of UDP all.

        Errors: ConnectionReset, BrokenPipeError after shutdown, TimedOut,
        BlockingIOError (timeout 0.0), InterfaceDown; UDP: Refused or Unreachable of
        an earlier datagram, OSError (EMSGSIZE).
        """
        endpoint, session = self._endpoint, self._session
        while True:
            self._check_open()
            try:
                count = endpoint.send(data)
            except BlockingIOError:
                # What fills the queue may be waiting for this thread to send it.
                session.flush()
                self._await(endpoint.writable_fd())
                continue
            except StackError as error:
                raise session.fault(error) from None
            session.sent += count
            session.flush()
            return count

    @abstractmethod
    def _after_receive(self) -> None: ...
