"""One flow on a kernel socket, with the face of the engine's session."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING

from netkat import finalizers
from netkat.engine.bypass import Cancelled
from netkat.engine.wait import deadline_after, wait_readable
from netkat.errors import NetkatError, NetworkError, TimedOut
from netkat.flow import Flow, Protocol
from netkat.kernel_sockets import kernel_errors
from netkat.stack.codes import StackError, WouldBlock

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from netkat.kernel_sockets.kernel_endpoint import KernelEndpoint
    from netkat.kernel_sockets.open_socket import Sockaddr


class KernelSession:
    """An endpoint and its flow. close() and abort() from any thread, any number of times."""

    link_fault: NetkatError | None = None
    """The kernel looks after its interfaces itself."""

    def __init__(self, endpoint: KernelEndpoint, flow: Flow) -> None:
        self.endpoint, self.flow = endpoint, flow
        self._lock = threading.Lock()
        self._ended = self._bridged = False
        self._fault_fd = -1
        self.received = 0
        self.sent = 0
        self._sending = threading.Lock()

    @property
    def ended(self) -> bool:
        """True once close() or abort() was called."""
        return self._ended

    @property
    def bridged(self) -> bool:
        """True once hand_over() was called: another has it now."""
        return self._bridged

    @property
    def fault_fd(self) -> int:
        """Polls readable never, and has the place of one that may."""
        with self._lock:
            if self._fault_fd < 0:
                self._fault_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            return self._fault_fd

    def connect(self, address: Sockaddr, timeout: float | None, cancel_fd: int | None) -> None:
        """Connect, ``timeout`` in seconds. Errors: NetworkErrors and SetupErrors; Cancelled."""
        try:
            self._connect(address, timeout, cancel_fd)
        except StackError as error:
            fault = self.fault(error, connecting=True)
            self.abort()
            raise fault from None
        except BaseException:
            self.abort()
            raise
        self._learn_our_end()

    def begin(self, address: Sockaddr) -> None:
        """Start to connect; the endpoint's connect_result() has the result. Errors: NetkatError."""
        try:
            self.endpoint.connect(address)
        except StackError as error:
            fault = self.fault(error, connecting=True)
            self.abort()
            raise fault from None
        if self.flow.protocol is Protocol.UDP:
            self._learn_our_end()

    def _connect(self, address: Sockaddr, timeout: float | None, cancel_fd: int | None) -> None:
        began, deadline = time.monotonic(), deadline_after(timeout)
        self.endpoint.connect(address)
        if self.flow.protocol is Protocol.UDP:
            return
        writable = self.endpoint.writable_fd()
        while True:
            try:
                self.endpoint.connect_result()
                return
            except WouldBlock:
                if self.wait(writable, deadline, cancel_fd):
                    continue
            if deadline is None or time.monotonic() < deadline:
                raise Cancelled
            waited = round(time.monotonic() - began, 1)
            raise self.no_answer(waited)

    def _learn_our_end(self) -> None:
        (local, port, *_), _ = self.endpoint.names()
        mine = self.flow
        self.flow = Flow(mine.protocol, ip_address(local), port, mine.remote, mine.remote_port)

    def send(self, data: Buffer, timeout: float | None) -> int:
        """Hand over bytes without waiting; how many were taken. Errors: as the endpoint's."""
        # An answer may be there before it returns: who is told of it must find the count.
        with self._sending:
            count = self.endpoint.send(data)
            self.sent += count
        return count

    def receive(self, view: memoryview, timeout: float | None) -> int:
        """What has come, without waiting; how many bytes. Errors: as the endpoint's."""
        return self.endpoint.recv_into(view)

    def flush(self) -> None:
        """Nothing to do: the kernel sends by itself."""

    def wait(self, descriptor: int, deadline: float | None, cancel_fd: int | None = None) -> bool:
        """Wait for the endpoint's descriptor; False when the deadline passed or cancel_fd fired."""
        return descriptor in wait_readable((descriptor, cancel_fd), deadline)

    def prove(self) -> None:
        """Nothing to do: there is no guard."""

    def fault(self, error: StackError, *, connecting: bool = False) -> NetkatError:
        """Return the NetkatError for the kernel's error."""
        told = self.endpoint.told
        if told is None or told.code is not error.code:
            return error
        with self._sending:
            sent = self.sent
        return kernel_errors.name(
            told, self.flow, connecting=connecting, received=self.received, sent=sent
        )

    def no_answer(self, waited: float) -> NetworkError:
        """A handshake that had no end in the ``waited`` seconds that it had."""
        return kernel_errors.no_answer(self.flow, self.endpoint.syns_sent(), waited)

    def unanswered(self, waited: float | None = None) -> NetworkError | None:
        """Return why no datagram was received; None if the kernel has no error."""
        if self.received:
            return None
        try:
            self.endpoint.recv_into(bytearray(1))
        except WouldBlock:
            return None
        except StackError as error:
            fault = self.fault(error)
            return fault if isinstance(fault, NetworkError) else None
        return None

    def timed_out(self, seconds: float | None) -> NetkatError:
        """The caller's own timeout ran out."""
        return TimedOut(f"timed out after {seconds:g} s" if seconds is not None else "timed out")

    def hand_over(self) -> int:
        """The socket's own descriptor, the caller's from now on. Errors: OSError (EBADF)."""
        with self._lock:
            if self._ended:
                raise OSError(errno.EBADF, "the connection is closed")
            self._ended = self._bridged = True
        return self.endpoint.hand_over()

    def close(self) -> None:
        """Let go: the kernel delivers what it holds, and the FIN."""
        self._end()
        self.endpoint.close()

    def abort(self) -> None:
        """End at once; the peer of a TCP connection gets a RST."""
        self._end()
        self.endpoint.abort()

    def _end(self) -> None:
        with self._lock:
            self._ended = True

    def __del__(self, finalize: Callable[..., None] = finalizers.close_later) -> None:
        if getattr(self, "_fault_fd", -1) >= 0:
            finalize(self._free)

    def _free(self) -> None:
        os.close(self._fault_fd)
