"""What connections and listeners have in common: names, timeouts, waits, the end."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from netkat import finalizers
from netkat.engine.wait import deadline_after, wait_readable
from netkat.flow import IPAddress, Protocol
from netkat.resources import Closeable
from netkat.stack.codes import StackError, WireFailed, WouldBlock
from netkat.system_calls import system_error

if TYPE_CHECKING:
    import socket

    from netkat.conn.interfaces import Session
    from netkat.stack import Info

T = TypeVar("T")

Address = tuple[str, int] | tuple[str, int, int, int]
"""As the socket module spells it: (host, port), or (host, port, flowinfo, scope_id) for IPv6."""


class AlreadyClosed(OSError):
    """A call on a connection after its end; EBADF, as of a closed socket."""


class SocketShaped(Closeable):
    """Shaped as a socket. Safe to use from several threads; close() wakes those that wait.

    ``with`` closes it. A connection that is collected while open warns
    (ResourceWarning) and is aborted.
    """

    def __init__(self, session: Session, *, timeout: float | None = None) -> None:
        finalizers.start()
        self._session = session
        self._endpoint = session.endpoint
        self._timeout = timeout
        self._files = 0
        self._closed = False

    @property
    def protocol(self) -> Protocol:
        """TCP or UDP."""
        return self._session.flow.protocol

    @property
    def family(self) -> socket.AddressFamily:
        """socket.AF_INET or AF_INET6."""
        import socket

        return socket.AF_INET if self._session.flow.version == 4 else socket.AF_INET6

    @property
    def type(self) -> socket.SocketKind:
        """socket.SOCK_STREAM or SOCK_DGRAM."""
        import socket

        return socket.SOCK_STREAM if self.protocol is Protocol.TCP else socket.SOCK_DGRAM

    @property
    def proto(self) -> int:
        """socket.IPPROTO_TCP or IPPROTO_UDP."""
        return int(self.protocol)

    @property
    def timeout(self) -> float | None:
        """As gettimeout()."""
        return self._timeout

    def gettimeout(self) -> float | None:
        """Seconds that an operation may wait; None: no limit; 0.0: not at all."""
        return self._timeout

    def settimeout(self, seconds: float | None) -> None:
        """As socket.settimeout: None waits without limit, 0.0 raises BlockingIOError instead.

        Errors: ValueError for a negative one.
        """
        if seconds is not None and seconds < 0:
            raise ValueError("Timeout value out of range")
        self._timeout = None if seconds is None else float(seconds)

    def setblocking(self, flag: bool) -> None:
        """True is settimeout(None), False is settimeout(0.0)."""
        self._timeout = None if flag else 0.0

    def getblocking(self) -> bool:
        """False where the timeout is 0.0."""
        return self._timeout != 0.0

    def fileno(self) -> int:
        """A descriptor for select, poll, epoll and selectors, which polls as a socket would:
        readable while a receive (an accept) would not wait, writable while a send would not.

        Owned by the connection: do not close, read or write it. -1 when closed. A wait on
        it is not a wait for a timeout of the connection's, and does not wake when the
        interface fails: that is fault_fileno().

        >>> import select
        >>> with netkat.create_connection(("10.111.111.129", 80), timeout=2) as conn:
        ...     select.select([], [conn], [], 5) == ([], [conn], [])
        True
        """
        return -1 if self._session.ended else self._endpoint.readiness_fd()

    def readable_fileno(self) -> int:
        """A descriptor that polls readable while a receive would not wait: cheaper than fileno().

        Errors: OSError (EBADF) when closed.
        """
        self._check_open()
        return self._endpoint.readable_fd()

    def writable_fileno(self) -> int:
        """A descriptor that polls **readable** while a send would not wait.

        Errors: OSError (EBADF) when closed.
        """
        self._check_open()
        return self._endpoint.writable_fd()

    def fault_fileno(self) -> int:
        """A descriptor that polls readable once the interface has failed: see raise_fault()."""
        return self._session.fault_fd

    def raise_fault(self) -> None:
        """Raise the interface's error, if it has one. Errors: InterfaceGone and the like."""
        fault = self._session.link_fault
        if fault is not None:
            raise fault

    def getsockname(self) -> Address:
        """The local address, as the socket module spells it. Errors: OSError (EBADF) when closed"""
        self._check_named()
        flow = self._session.flow
        return spelt(flow.local, flow.local_port)

    def getpeername(self) -> Address:
        """The peer's address. Errors: OSError (ENOTCONN) where there is no peer, (EBADF) closed."""
        self._check_named()
        flow = self._session.flow
        if flow.remote is None:
            raise OSError(errno.ENOTCONN, "not connected")
        return spelt(flow.remote, flow.remote_port)

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """As socket.setsockopt, for the options that the stack has: netkat/conn/socket_options.py.

        TCP_NODELAY, SO_KEEPALIVE with TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT,
        TCP_USER_TIMEOUT (milliseconds), SO_LINGER (see close()), SO_RCVBUF and SO_SNDBUF
        (bytes), SO_BROADCAST, IP_TTL and IPV6_UNICAST_HOPS, IP_TOS and IPV6_TCLASS, IP_MINTTL
        and IPV6_MINHOPCOUNT. Of those, accepted connections have the TTL, the TOS, keepalive,
        TCP_USER_TIMEOUT and SO_LINGER from their listener.
        Errors: OSError (ENOPROTOOPT) for another one; StackError (EINVAL) for a senseless value.
        """
        from netkat.conn import socket_options

        self._check_open()
        socket_options.write(self._endpoint, self._session.flow, level, option, value)

    def getsockopt(self, level: int, option: int, length: int = 0) -> int | bytes:
        """As socket.getsockopt: a number, or bytes with a ``length``.

        What setsockopt takes, and TCP_MAXSEG, SO_TYPE, SO_PROTOCOL, SO_DOMAIN and SO_ERROR,
        which is always 0: faults are raised where they are met.
        Errors: OSError (ENOPROTOOPT) for another one.
        """
        from netkat.conn import socket_options

        self._check_open()
        return socket_options.read(self._endpoint, self._session.flow, level, option, length)

    def info(self) -> Info:
        """Facts of the moment: round-trip time (µs), window, retransmits, MSS, bytes under way.

        Errors: OSError (EBADF) when closed.
        """
        self._check_open()
        return self._endpoint.info()

    def close(self) -> None:
        """Close the connection when the last makefile() object is closed. Idempotent.

        TCP goes on delivering what it was given while the stack lives. With SO_LINGER and a time
        of 0 the peer gets a RST instead; with another time close() returns when the peer has
        acknowledged everything, or after that time.
        """
        self._closed = True
        if self._files <= 0:
            self._session.close()

    def abort(self) -> None:
        """End at once: the peer of a TCP connection gets a RST."""
        self._closed = True
        self._session.abort()

    def __del__(self, finalize: Callable[..., None] = finalizers.close_unclosed) -> None:
        session = getattr(self, "_session", None)
        if session is not None and not session.ended:
            finalize(self, session.abort)

    def __repr__(self) -> str:
        session = self._session
        state = "handed over" if session.bridged else "closed" if session.ended else "open"
        return f"<netkat.{type(self).__name__} {state} {session.flow}>"

    def _check_named(self) -> None:
        # What was handed over to a socket has its names still, which the socket lacks.
        if not self._session.bridged:
            self._check_not_closed()

    def _check_open(self) -> None:
        self._check_not_closed()
        self.raise_fault()

    def _check_not_closed(self) -> None:
        if self._session.bridged:
            raise AlreadyClosed(
                errno.EBADF, "the connection was handed over to a socket (as_socket)"
            )
        if self._session.ended:
            raise AlreadyClosed(errno.EBADF, "the connection is closed")

    def _when_ready(
        self, operation: Callable[[], T], *, sending: bool = False, deadline: float | None = None
    ) -> T:
        """Do it as soon as it need not wait, in the time that the timeout (or deadline) allows."""
        session, endpoint = self._session, self._endpoint
        while True:
            self._check_open()
            try:
                return operation()
            except WouldBlock:
                if sending:
                    # What fills the queue may be waiting for this thread to send it.
                    session.flush()
            except StackError as error:
                self._check_open()  # closed by another thread just now
                raise session.fault(error) from None
            except WireFailed as failed:
                raise self._interface_fault(failed) from None
            if self._timeout == 0.0:
                raise WouldBlock(errno.EAGAIN, "the operation would wait")
            if deadline is None:
                deadline = deadline_after(self._timeout)
            self._check_open()
            descriptor = endpoint.writable_fd() if sending else endpoint.readable_fd()
            ready = session.wait(descriptor, deadline)
            self._check_open()
            if not ready:
                raise session.timed_out(self._timeout)

    def _interface_fault(self, failed: WireFailed) -> OSError:
        """The typed error of an interface whose packet socket failed."""
        # The pump's thread meets the same error, and finds out why.
        wait_readable((self._session.fault_fd,), deadline_after(1.0))
        fault = self._session.link_fault
        if isinstance(fault, OSError):
            return fault
        return system_error(failed, "send or receive packets (sendmmsg, recvmmsg)")


def spelt(address: IPAddress | None, port: int) -> Address:
    """An address as the socket module spells it."""
    from ipaddress import IPv6Address

    if not isinstance(address, IPv6Address):
        return str(address), port
    zone = address.scope_id
    return str(address), port, 0, _zone_index(zone)


def _zone_index(zone: str | None) -> int:
    if zone is None:
        return 0
    if zone.isdigit():
        return int(zone)
    import socket

    return socket.if_nametoindex(zone)
