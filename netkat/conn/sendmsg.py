"""The socket calls with addresses, flags or several buffers: recvfrom, recvmsg, sendmsg."""

from __future__ import annotations

import errno
import operator
import socket
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from netkat.conn.socket_base import Address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer

LARGEST = 65535
"""Bytes: no datagram is larger (RFC 768: a 16-bit length)."""


class Messages:
    """What is received, with its sender. There is no ancillary data, and there are no flags."""

    @property
    @abstractmethod
    def type(self) -> socket.SocketKind:
        """socket.SOCK_STREAM or SOCK_DGRAM."""

    def recvfrom_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> tuple[int, Address]:
        """As recv_into, with the sender's address beside it. Errors: as recv_into."""
        refuse_flags(flags)
        return self._receive_from(room_in(buffer, nbytes))

    def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0
    ) -> tuple[bytes, list[Any], int, Address]:
        """As socket.recvmsg: bytes, no ancillary data, flags, and the sender's address.

        MSG_TRUNC means that a datagram was cut at ``bufsize`` bytes. Errors: as recv_into.
        """
        if bufsize < 0:
            raise ValueError("negative buffer size in recvmsg")
        buffer = bytearray(bufsize)
        count, none, told, sender = self.recvmsg_into([buffer], ancbufsize, flags)
        return bytes(memoryview(buffer)[:count]), none, told, sender

    def recvmsg_into(
        self, buffers: Iterable[Buffer], ancbufsize: int = 0, flags: int = 0
    ) -> tuple[int, list[Any], int, Address]:
        """As recvmsg, into several buffers in a row, and how many bytes in place of them."""
        views = [room_in(buffer) for buffer in buffers]
        if ancbufsize < 0:
            raise ValueError("negative ancillary data buffer size in recvmsg")
        refuse_flags(flags)
        size = sum(map(len, views))
        datagram = self.type is socket.SOCK_DGRAM
        if len(views) == 1 and not datagram:
            count, sender = self._receive_from(views[0])
            return count, [], 0, sender
        # All of a datagram, or nobody would know that it was cut.
        whole = memoryview(bytearray(LARGEST if datagram else size))
        found, sender = self._receive_from(whole)
        count, at = min(found, size), 0
        for view in views:
            part = whole[at : min(at + len(view), count)]
            view[: len(part)] = part
            at += len(part)
        return count, [], socket.MSG_TRUNC if found > size else 0, sender

    @abstractmethod
    def _receive_from(self, view: memoryview) -> tuple[int, Address]: ...


def room_in(buffer: Buffer, nbytes: int = 0) -> memoryview:
    """The buffer's bytes, or the first ``nbytes`` of them, to be written to.

    Errors: TypeError for a read-only one, ValueError for more than there are.
    """
    view = memoryview(buffer).cast("B")
    if view.readonly:
        raise TypeError(f"a buffer to receive into must be writable, not {type(buffer).__name__}")
    if not 0 <= nbytes <= len(view):
        raise ValueError(f"{nbytes} bytes into a buffer of {len(view)}")
    return view[:nbytes] if nbytes else view


def refuse_flags(flags: int) -> None:
    """MSG_PEEK and the like. Errors: OSError (EOPNOTSUPP)."""
    if operator.index(flags):
        raise OSError(errno.EOPNOTSUPP, f"netkat has none of the MSG_ flags ({flags:#x})")


def refuse_ancillary(items: Iterable[tuple[int, int, Buffer]]) -> None:
    """Errors: OSError (EOPNOTSUPP), TypeError for what is no (level, type, data)."""
    found = list(items)
    for item in found:
        try:
            level, kind, data = item
        except ValueError:
            raise TypeError("ancillary data is (level, type, data)") from None
        _ = operator.index(level), operator.index(kind), memoryview(data)
    if found:
        raise OSError(errno.EOPNOTSUPP, "ancillary data is not for this stack")


def target(flags: int | tuple[Any, ...], address: tuple[Any, ...] | None) -> tuple[Any, ...]:
    """Whereto of sendto(data, address) and sendto(data, flags, address).

    Errors: TypeError, OSError (EOPNOTSUPP) for flags.
    """
    if isinstance(flags, tuple):
        if address is not None:
            raise TypeError("sendto takes flags before the address")
        return flags
    refuse_flags(flags)
    if not isinstance(address, tuple):
        raise TypeError(f"an address is a tuple (host, port), not {type(address).__name__}")
    return address
