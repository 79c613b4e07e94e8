"""A kernel socket with the face of a stack's endpoint. Nothing here waits."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from netkat import finalizers
from netkat.flow import Protocol
from netkat.kernel_sockets import tcp_info
from netkat.kernel_sockets.open_socket import linger_of, packed, place
from netkat.kernel_sockets.socket_errors import Told, from_queue
from netkat.stack import Option
from netkat.stack.codes import Code, StackError, WouldBlock, WriteSideShut
from netkat.stack.facts import OVER, State

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from netkat.kernel_sockets.open_socket import Sockaddr
    from netkat.stack import Info


class KernelEndpoint:
    """Owns the socket. Safe from several threads; close() wakes those that wait.

    BlockingIOError means "not now"; every other error is a StackError, and ``told``
    has the kernel's error.
    """

    def __init__(self, opened: socket.socket, protocol: Protocol) -> None:
        finalizers.start()
        self._socket, self._stream = opened, protocol is Protocol.TCP
        self._version = 4 if opened.family == socket.AF_INET else 6
        self._lock = threading.Lock()
        self._users, self._closed, self._handed = 0, False, -1
        self._shut = self._reset = False
        self._pollers: dict[int, select.epoll] = {}
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._handshake = 0
        self.told: Told | None = None

    def connect(self, address: Sockaddr) -> None:
        """Start to connect (TCP: connect_result() has the result). Errors: StackError."""
        with self._in_use() as opened:
            code = opened.connect_ex(address)
            if code not in (0, errno.EINPROGRESS):
                raise self._fault(opened, code, sending=True)

    def connect_result(self) -> None:
        """Return once the connection is open. Errors: BlockingIOError while it is not decided."""
        with self._in_use() as opened:
            code = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise self._fault(opened, code)
            if self._stream and tcp_info.state(opened) == State.SYN_SENT:
                raise WouldBlock(errno.EAGAIN, "still connecting")
            if self._stream and not self._handshake:
                self._handshake = tcp_info.round_trip(opened)

    def names(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """Our end and the peer's, address and port."""
        with self._in_use() as opened:
            return opened.getsockname()[:2], opened.getpeername()[:2]

    def local_port(self) -> int:
        """The local port; 0 before one is bound."""
        with self._in_use() as opened:
            return int(opened.getsockname()[1])

    def syns_sent(self) -> int:
        """SYNs that the kernel's TCP handed down so far; whether they left it does not know."""
        with self._in_use() as opened:
            return 1 + tcp_info.timeouts(opened)

    def readable_fd(self) -> int:
        """A descriptor that polls readable while a receive would not wait. Do not close it."""
        return self._poller(select.EPOLLIN)

    def writable_fd(self) -> int:
        """Polls **readable** while a send would not wait, or a connect is decided."""
        return self._poller(select.EPOLLOUT)

    def readiness_fd(self) -> int:
        """The socket's own."""
        with self._in_use() as opened:
            return opened.fileno()

    def set_option(self, option: Option, value: int) -> None:
        """Set an option. Errors: StackError."""
        with self._in_use() as opened:
            try:
                opened.setsockopt(*place(option, self._version), packed(option, value))
            except OSError:
                raise StackError(Code.INVALID) from None

    def get_option(self, option: Option) -> int:
        """An option's value. Errors: StackError."""
        with self._in_use() as opened:
            try:
                if option is Option.LINGER:
                    return linger_of(opened)
                return opened.getsockopt(*place(option, self._version))
            except OSError:
                raise StackError(Code.INVALID) from None

    def recv_into(self, buffer: Buffer) -> int:
        """Read into the buffer: bytes. TCP: 0 is the end of the stream. UDP: one datagram, cut."""
        with self._in_use() as opened:
            try:
                count = opened.recv_into(buffer)
            except BlockingIOError as error:
                self._raise_queued(opened)
                raise WouldBlock(*error.args) from None
            except OSError as error:
                raise self._fault(opened, error.errno or 0) from None
            # The kernel tells of a RST once, and whoever comes second hears of an end.
            if not count and self._stream and self._broken(opened):
                raise self._fault(opened, errno.ECONNRESET)
            return count

    def send(self, data: Buffer) -> int:
        """Hand over bytes; how many were taken (TCP: perhaps fewer than all)."""
        with self._in_use() as opened:
            try:
                return opened.send(data)
            except BlockingIOError as error:
                raise WouldBlock(*error.args) from None
            except OSError as error:
                raise self._fault(opened, error.errno or 0, sending=True) from None

    def shutdown(self, how: int) -> None:
        """socket.SHUT_RD, SHUT_WR (FIN after what is queued) or SHUT_RDWR."""
        with self._in_use() as opened:
            self._shut = self._shut or how != socket.SHUT_RD
            try:
                opened.shutdown(how)
            except OSError as error:
                raise self._fault(opened, error.errno or 0) from None

    def info(self) -> Info:
        """Facts of the moment. Of UDP the kernel keeps none."""
        with self._in_use() as opened:
            if not self._stream:
                return tcp_info.of_datagrams(opened)
            broken = self._broken(opened)
            return tcp_info.of_stream(
                opened, broken=broken, shut=self._shut, handshake=self._handshake
            )

    def hand_over(self) -> int:
        """The socket's descriptor, the caller's from now on; info() goes on while it is open."""
        with self._lock:
            if self._closed or self._handed >= 0:
                raise StackError(Code.BAD_HANDLE)
            self._handed = self._socket.detach()
            os.eventfd_write(self._wake, 1)
            return self._handed

    def over(self) -> bool:
        """True once the peer counts on nothing any more."""
        try:
            return self.info().state in OVER
        except StackError:
            return True

    def abort(self) -> None:
        """Close with a RST."""
        self._close(reset=True)

    def close(self) -> None:
        """Close; the kernel delivers what it holds. Idempotent."""
        self._close(reset=False)

    def _close(self, *, reset: bool) -> None:
        with self._lock:
            if self._closed or self._handed >= 0:
                return
            self._closed = True
            if reset and self._stream:
                linger = struct.pack("ii", 1, 0)
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            os.eventfd_write(self._wake, 1)
            if not self._users:
                self._let_go()

    def _let_go(self) -> None:
        self._socket.close()
        # The pollers and what wakes them stay as long as this object: somebody may wait in poll().

    def __del__(self, finalize: Callable[..., None] = finalizers.close_later) -> None:
        if hasattr(self, "_wake"):
            finalize(self._free)

    def _free(self) -> None:
        self._socket.close()
        for poller in self._pollers.values():
            poller.close()
        os.close(self._wake)

    @contextmanager
    def _in_use(self) -> Iterator[socket.socket]:
        """The socket, kept open meanwhile: after a close its number may be reused at once."""
        with self._lock:
            if self._closed:
                raise StackError(Code.BAD_HANDLE)
            handed = self._handed
            self._users += handed < 0
        if handed >= 0:
            with socket.socket(fileno=os.dup(handed)) as again:
                yield again
            return
        try:
            yield self._socket
        finally:
            with self._lock:
                self._users -= 1
                if self._closed and not self._users:
                    self._let_go()

    def _poller(self, events: int) -> int:
        with self._in_use() as opened, self._lock:
            poller = self._pollers.get(events)
            if poller is None:
                poller = self._pollers[events] = select.epoll()
                poller.register(opened.fileno(), events)
                poller.register(self._wake, select.EPOLLIN)
            return poller.fileno()

    def _raise_queued(self, opened: socket.socket) -> None:
        """An ICMP error that waits in a UDP socket's queue, and would keep it polling ready."""
        told = None if self._stream else from_queue(opened)
        if told is not None:
            self.told = told
            raise StackError(told.code)

    def _fault(self, opened: socket.socket, code: int, *, sending: bool = False) -> StackError:
        told = None if self._stream else from_queue(opened)
        self.told = told or Told(code, sending=sending)
        if self._stream and code in (errno.ECONNRESET, errno.EPIPE):
            if code == errno.EPIPE and self._shut:
                return WriteSideShut(Code.PIPE)
            # After a RST was told once, the kernel says EPIPE.
            self._reset, self.told = True, Told(errno.ECONNRESET)
            return StackError(Code.RESET)
        return StackError(self.told.code)

    def _broken(self, opened: socket.socket) -> bool:
        """True after a RST, reported already or not."""
        if self._reset:
            return True
        poll = select.poll()
        poll.register(opened, 0)
        if any(events & select.POLLERR for _, events in poll.poll(0)):
            return True
        return not self._shut and tcp_info.state(opened) == State.CLOSED
