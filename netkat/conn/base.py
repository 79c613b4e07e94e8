"""What connections and listeners have in common: names, timeouts, waits, the end."""

from __future__ import annotations

import errno
import warnings
from types import TracebackType
from typing import TYPE_CHECKING

from netkat.engine.wait import deadline_after
from netkat.flow import Protocol

if TYPE_CHECKING:
    from typing_extensions import Self

    from netkat.engine.session import Session
    from netkat.stack import Info

Address = tuple[str, int] | tuple[str, int, int, int]
"""As the socket module spells it: (host, port), or (host, port, flowinfo, scope_id) for IPv6."""


class SocketShaped:
    """Shaped as a socket. Safe to use from several threads; close() wakes those that wait.

    ``with`` closes it. A connection that is collected while open warns
    (ResourceWarning) and is aborted.
    """

    def __init__(self, session: Session, *, timeout: float | None = None) -> None:
        self._session = session
        self._endpoint = session.endpoint
        self._timeout = timeout

    @property
    def protocol(self) -> Protocol:
        """TCP or UDP."""
        return self._session.flow.protocol

    def gettimeout(self) -> float | None:
        """Seconds that an operation may wait; None: no limit; 0.0: not at all."""
        return self._timeout

    def settimeout(self, seconds: float | None) -> None:
        """As socket.settimeout: None waits without limit, 0.0 raises BlockingIOError instead."""
        if seconds is not None and seconds < 0:
            raise ValueError("timeout must be non-negative")
        self._timeout = seconds

    def setblocking(self, flag: bool) -> None:
        """True is settimeout(None), False is settimeout(0.0)."""
        self._timeout = None if flag else 0.0

    def fileno(self) -> int:
        """A descriptor that polls readable while a receive would not wait.

        Owned by the connection; do not close it. It tells nothing of writing:
        that is writable_fileno().
        """
        self._check_open()
        return self._endpoint.readable_fd()

    def writable_fileno(self) -> int:
        """A descriptor that polls **readable** while a send would not wait."""
        self._check_open()
        return self._endpoint.writable_fd()

    def fault_fileno(self) -> int:
        """A descriptor that polls readable once the interface has failed: see raise_fault()."""
        return self._session.uplink.fault_fd

    def raise_fault(self) -> None:
        """Raise what has befallen the interface, if anything has. Errors: InterfaceDown and such"""
        fault = self._session.uplink.fault
        if fault is not None:
            raise fault

    def getsockname(self) -> Address:
        """The local address, as the socket module spells it."""
        flow = self._session.flow
        return spelt(flow.local, flow.local_port)

    def getpeername(self) -> Address:
        """The peer's address. Errors: OSError (ENOTCONN) where there is no peer."""
        flow = self._session.flow
        if flow.remote is None:
            raise OSError(errno.ENOTCONN, "not connected")
        return spelt(flow.remote, flow.remote_port)

    def info(self) -> Info:
        """Facts of the moment: round-trip time (µs), window, retransmits, unacknowledged bytes."""
        self._check_open()
        return self._endpoint.info()

    def close(self) -> None:
        """Let go. TCP goes on delivering what it was given while the stack lives."""
        self._session.close()

    def abort(self) -> None:
        """End at once: the peer of a TCP connection gets a RST."""
        self._session.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        session = getattr(self, "_session", None)
        if session is not None and not session.ended:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            session.abort()

    def __repr__(self) -> str:
        session = self._session
        state = "handed over" if session.bridged else "closed" if session.ended else "open"
        return f"<netkat.{type(self).__name__} {state} {session.flow}>"

    def _check_open(self) -> None:
        if self._session.bridged:
            raise OSError(errno.EBADF, "the connection was handed over to a socket (as_socket)")
        if self._session.ended:
            raise OSError(errno.EBADF, "the connection is closed")

    def _await(self, descriptor: int) -> None:
        """Wait for the descriptor as long as the timeout allows, or raise."""
        if self._timeout == 0.0:
            raise BlockingIOError(errno.EAGAIN, "the operation would wait")
        ready = self._session.wait(descriptor, deadline_after(self._timeout))
        self._check_open()
        if not ready:
            raise self._session.timed_out(self._timeout)


def spelt(address: object, port: int) -> Address:
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
