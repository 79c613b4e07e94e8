"""A UDP port without a peer: datagrams to anybody, by whichever interface leads there."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from netkat import finalizers
from netkat.conn.datagram_listener import UdpListener
from netkat.conn.sendmsg import (
    LARGEST,
    Messages,
    refuse_ancillary,
    refuse_flags,
    room_in,
    target,
)
from netkat.conn.socket_base import Address
from netkat.engine.wait import deadline_after, wait_readable
from netkat.errors import InterfaceDown, TimedOut
from netkat.resources import Closeable
from netkat.stack.codes import WouldBlock

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from netkat.engine.datagrams import DatagramPort
    from netkat.engine.listening import DatagramSession
    from netkat.flow import IPAddress


class UdpSocket(Closeable, Messages):
    """Shaped as a datagram socket that is not connected: sendto, recvfrom, and the rest.

    One local port. An interface is opened when the first datagram leaves by it.

    >>> with netkat.open_datagram(None, timeout=2) as sock:
    ...     sock.sendto(b"hello", ("10.111.111.129", 7))
    ...     sock.recvfrom()
    5
    (b'hello', ('10.111.111.129', 7))

    Safe to use from several threads; close() wakes those that wait.
    """

    def __init__(
        self,
        port: DatagramPort,
        resolve: Callable[[str, int], IPAddress],
        *,
        timeout: float | None = None,
    ) -> None:
        finalizers.start()
        self._port, self._resolve = port, resolve
        self._timeout = timeout
        self._poll = select.epoll()
        self._listeners: dict[DatagramSession, UdpListener] = {}
        self._last: UdpListener | None = None
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        self._closed = False
        for session in port.sessions:
            self._listener(session)

    @property
    def type(self) -> socket.SocketKind:
        """socket.SOCK_DGRAM."""
        return socket.SOCK_DGRAM

    def sendto(
        self, data: Buffer, flags: int | tuple[Any, ...], address: tuple[Any, ...] | None = None
    ) -> int:
        """One datagram to (host, port); its length. A name costs a look-up each time.

        As socket.sendto: sendto(data, address), or with flags between (0 alone).
        Errors: TimedOut, BlockingIOError (timeout 0.0), NextHopSilent of an earlier datagram,
        OSError (EMSGSIZE), (EBADF) when closed; NoRoute and any other SetupError.
        """
        self._check_open()
        host, port = target(flags, address)[:2]
        try:
            destination = ip_address(host)
        except ValueError:
            destination = self._resolve(host, port)
        listener = self._listener(self._port.towards(destination, port))
        self._last = listener
        deadline = deadline_after(self._timeout)
        while True:
            self._check_open()
            try:
                return listener.sendto(data, (str(destination), port))
            except InterfaceDown:
                self._discard(listener)
                raise
            except WouldBlock:
                self._await((listener.writable_fileno(), listener.fault_fileno()), deadline)

    def sendmsg(
        self,
        buffers: Iterable[Buffer],
        ancdata: Iterable[tuple[int, int, Buffer]] = (),
        flags: int = 0,
        address: tuple[Any, ...] | None = None,
    ) -> int:
        """As sendto, of several buffers in a row in one datagram.

        Errors: as sendto; OSError (EDESTADDRREQ) without an address, (EOPNOTSUPP) for
        ancillary data.
        """
        refuse_ancillary(ancdata)
        data = b"".join(buffers)
        if address is None:
            raise OSError(errno.EDESTADDRREQ, "the socket has no peer: whereto?")
        return self.sendto(data, flags, address)

    def recvfrom(self, bufsize: int = LARGEST, flags: int = 0) -> tuple[bytes, Address]:
        """One datagram, cut at ``bufsize`` bytes, and its sender.

        Errors: TimedOut, BlockingIOError (timeout 0.0), InterfaceDown, GuardFailed,
        OSError (EBADF) when closed, by another thread as well, (EOPNOTSUPP) for any of the
        MSG_ flags, (EINVAL) before the first sendto where no source_address was given:
        there is no interface to receive on yet.
        """
        refuse_flags(flags)
        buffer = bytearray(bufsize)
        count, sender = self._receive_from(memoryview(buffer))
        return bytes(memoryview(buffer)[:count]), sender

    def recv(self, bufsize: int = LARGEST, flags: int = 0) -> bytes:
        """As recvfrom, without the sender."""
        return self.recvfrom(bufsize, flags)[0]

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        """As recv, into a buffer (or its first ``nbytes``); how many bytes."""
        refuse_flags(flags)
        return self._receive_from(room_in(buffer, nbytes))[0]

    def settimeout(self, seconds: float | None) -> None:
        """As socket.settimeout. Errors: ValueError for a negative one."""
        if seconds is not None and seconds < 0:
            raise ValueError("Timeout value out of range")
        self._timeout = seconds

    def gettimeout(self) -> float | None:
        """Seconds that an operation may wait; None: no limit; 0.0: not at all."""
        return self._timeout

    def setblocking(self, flag: bool) -> None:
        """True is settimeout(None), False is settimeout(0.0)."""
        self._timeout = None if flag else 0.0

    def getsockname(self) -> Address:
        """The local address, as the socket module spells it: of the interface that was opened
        first. Errors: OSError (EINVAL) where none is open yet, (EBADF) when closed.
        """
        self._check_open()
        for listener in list(self._listeners.values()):
            return listener.getsockname()
        raise OSError(errno.EINVAL, "nothing was sent yet, and no source_address given")

    def fileno(self) -> int:
        """A descriptor that polls readable while recvfrom would not wait; -1 when closed.

        It does not report writability.
        """
        return -1 if self._closed else self._poll.fileno()

    def writable_fileno(self) -> int:
        """A descriptor that polls **readable** while a sendto by the interface that was last
        sent by would not wait. Errors: OSError (EBADF) when closed, (EINVAL) before a sendto.
        """
        self._check_open()
        if self._last is None:
            raise OSError(errno.EINVAL, "nothing was sent yet")
        return self._last.writable_fileno()

    def close(self) -> None:
        """Release the port. Idempotent."""
        if self._closed:
            return
        self._closed = True
        os.eventfd_write(self._wake, 1)
        for listener in self._listeners.values():
            listener.close()
        self._poll.close()
        os.close(self._wake)

    def __del__(self, finalize: Callable[..., None] = finalizers.close_unclosed) -> None:
        if not getattr(self, "_closed", True):
            finalize(self, self.close)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        names = ", ".join(str(session.flow) for session in self._port.sessions)
        return f"<netkat.UdpSocket {state} {names or 'on no interface yet'}>"

    def _receive_from(self, view: memoryview) -> tuple[int, Address]:
        deadline = deadline_after(self._timeout)
        while True:
            self._check_open()
            listeners = list(self._listeners.values())
            if not listeners:
                raise OSError(errno.EINVAL, "nothing was sent yet, and no source_address given")
            for listener in listeners:
                try:
                    return listener.recvfrom_into(view)
                except InterfaceDown:
                    self._discard(listener)
                    raise
                except WouldBlock:
                    continue
            self._await((self._poll.fileno(),), deadline)

    def _await(self, descriptors: tuple[int, ...], deadline: float | None) -> None:
        if self._timeout == 0.0:
            raise WouldBlock(errno.EAGAIN, "the operation would wait")
        # The wake-up is polled itself: one that stands in the epoll set leaves it when closed.
        ready = wait_readable((*descriptors, self._wake), deadline)
        self._check_open()
        if not ready:
            raise TimedOut(f"timed out after {self._timeout:g} s")

    def _listener(self, session: DatagramSession) -> UdpListener:
        listener = self._listeners.get(session)
        if listener is None:
            listener = UdpListener(session, timeout=0.0)
            self._poll.register(listener.readable_fileno(), select.EPOLLIN)
            with suppress(FileExistsError):  # all sessions of one interface share it
                self._poll.register(listener.fault_fileno(), select.EPOLLIN)
            self._listeners[session] = listener
        return listener

    def _discard(self, listener: UdpListener) -> None:
        """Leave an interface that has failed. The next datagram opens the one that it needs."""
        for session, known in list(self._listeners.items()):
            if known is listener:
                del self._listeners[session]
                with suppress(OSError):
                    self._poll.unregister(listener.fault_fileno())
                self._port.discard(session)

    def _check_open(self) -> None:
        if self._closed:
            raise OSError(errno.EBADF, "the socket is closed")
