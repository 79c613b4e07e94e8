"""Connections of kernel sockets, for --kernel: the outgoing half of the engine's Bypass."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet

from netkat.errors import BadArgument
from netkat.flow import Flow, IPAddress, Protocol
from netkat.host.capabilities import drop_all
from netkat.host.fib import vrf
from netkat.host.netns import NetnsThread, NetworkNamespace
from netkat.kernel_sockets.kernel_endpoint import KernelEndpoint
from netkat.kernel_sockets.kernel_session import KernelSession
from netkat.kernel_sockets.open_socket import Sockaddr, open_socket, sockaddr
from netkat.options import DEFAULT_PATH, DEFAULT_SOCKET, PathOptions, SocketOptions
from netkat.resources import Closeable

if TYPE_CHECKING:
    import socket

T = TypeVar("T")

_PRIVILEGED = range(1, 1024)
_MOST_PRIVILEGED = 256
"""Sockets that are bound to a low port in advance: once privileges are dropped, none can be."""


@dataclass(frozen=True, slots=True, eq=False)
class KernelAttempt:
    """A socket that is ready to connect."""

    address: IPAddress
    port: int
    protocol: Protocol
    sockaddr: Sockaddr
    opened: socket.socket
    another: Callable[[], socket.socket]
    """Opens one more like it, in the namespace's thread."""

    def notes(self) -> list[str]:
        """Return the lines for -v."""
        port = self.opened.getsockname()[1]
        note = f"{self.address} through a kernel socket: this host's rules and NAT apply"
        return [f"{note}, port {port}" if port else note]

    def warnings(self) -> list[str]:
        """Return no lines."""
        return []


class KernelPorts:
    """Sockets to any port of one destination, opened one by one in the namespace."""

    def __init__(self, attempt: KernelAttempt, open_next: Callable[[], socket.socket]) -> None:
        self._attempt, self._open_next = attempt, open_next

    def begin(self, port: int) -> KernelSession:
        """Begin to connect to a port. Errors: PortTaken, and what connect(2) refuses at once."""
        attempt = self._attempt
        host, _, *zone = attempt.sockaddr
        session = session_on(self._open_next(), replace(attempt, port=port))
        session.begin((host, port, *zone))  # type: ignore[arg-type]
        return session


class KernelSockets(Closeable):
    """prepare() may need privileges (a low port, --netns), dial() does not."""

    def __init__(
        self,
        options: PathOptions = DEFAULT_PATH,
        *,
        socket_options: SocketOptions | None = None,
    ) -> None:
        self.options = options.check()
        self._socket_options = socket_options or DEFAULT_SOCKET
        self._waiting: set[KernelAttempt] = set()
        self._sessions: WeakSet[KernelSession] = WeakSet()
        self._kept: list[socket.socket] = []
        self._undo = ExitStack()
        self._resident: NetnsThread | None = None
        if options.netns is not None:
            namespace = self._undo.enter_context(NetworkNamespace(options.netns))
            try:
                self._resident = self._undo.enter_context(NetnsThread(namespace))
            except BaseException:
                self._undo.close()
                raise

    def prepare(
        self,
        destination: IPAddress,
        port: int,
        *,
        protocol: Protocol,
        options: PathOptions | None = None,
        peers: int = 1,
    ) -> KernelAttempt:
        """Open and bind a socket in the namespace.

        ``options.table`` is None or the name of a VRF's interface; the kernel has no other way
        to choose a next hop or table for one socket. Errors: PortTaken, BadArgument and the like.
        """
        chosen = options or self.options
        assert chosen.via is None, "a kernel socket uses the host's routes"
        source_port, table = chosen.source_port, chosen.table
        if source_port in _PRIVILEGED and peers > _MOST_PRIVILEGED:
            raise BadArgument(
                f"-p {source_port} is a privileged port, and with --kernel that goes with"
                f" {_MOST_PRIVILEGED} ports at most",
                hint="ask for fewer ports at a time, or leave -p or --kernel away",
            )

        def another() -> socket.socket:
            return open_socket(
                destination,
                protocol,
                source=chosen.source,
                source_port=source_port,
                interface=chosen.interface if table is None else vrf(table),
                options=self._socket_options,
            )

        opened = self._inside(another)
        address = self._inside(lambda: sockaddr(destination, port))
        attempt = KernelAttempt(destination, port, protocol, address, opened, another)
        self._waiting.add(attempt)
        if source_port in _PRIVILEGED:
            self._kept += [self._inside(another) for _ in range(peers - 1)]
        return attempt

    def share_port(self, attempt: KernelAttempt) -> KernelPorts:
        """Use an attempt that was prepared for many ``peers`` for any port of its destination."""

        def open_next() -> socket.socket:
            if attempt in self._waiting:
                self._waiting.discard(attempt)
                return attempt.opened
            return self._kept.pop() if self._kept else self._inside(attempt.another)

        return KernelPorts(attempt, open_next)

    def dial(
        self, attempt: KernelAttempt, *, timeout: float | None, cancel_fd: int | None = None
    ) -> KernelSession:
        """Connect the attempt's socket. ``timeout`` in seconds.

        Errors: NetworkErrors as far as the kernel distinguishes them; Cancelled.
        """
        self._waiting.discard(attempt)
        session = session_on(attempt.opened, attempt)
        session.connect(attempt.sockaddr, timeout, cancel_fd)
        self._sessions.add(session)
        return session

    def notes(self) -> list[str]:
        """Nothing beside the attempts' own."""
        return []

    def drop_privileges(self) -> None:
        """Give up every capability of this thread, for good."""
        if self._resident is not None:
            self._resident.call(drop_all)
        drop_all()

    def load(self) -> None:
        """Nothing to load."""

    def wait_closed(self, seconds: float) -> None:
        """Return at once: the kernel goes on with connections that were closed."""

    def close(self) -> None:
        """End what is open (RST), and what was never dialled. Idempotent."""
        while self._waiting:
            self._waiting.pop().opened.close()
        while self._kept:
            self._kept.pop().close()
        for session in list(self._sessions):
            session.abort()
        self._undo.close()

    def _inside(self, function: Callable[[], T]) -> T:
        return function() if self._resident is None else self._resident.call(function)


def session_on(opened: socket.socket, attempt: KernelAttempt) -> KernelSession:
    """A session on a socket that is not connected yet."""
    unbound = type(attempt.address)(0)
    flow = Flow(attempt.protocol, unbound, 0, attempt.address, attempt.port)
    return KernelSession(KernelEndpoint(opened, attempt.protocol), flow)
