"""Attempts at destinations through kernel sockets, with the face of the engine's Bypass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakSet

from netkat.engine.options import Options
from netkat.flow import Flow, IPAddress, Protocol
from netkat.host.capabilities import drop_all
from netkat.host.netns import NetworkNamespace
from netkat.host.tables import vrf
from netkat.kernel.endpoint import KernelEndpoint
from netkat.kernel.opening import Sockaddr, open_socket, sockaddr
from netkat.kernel.session import KernelSession

if TYPE_CHECKING:
    import socket


@dataclass(frozen=True, slots=True, eq=False)
class KernelAttempt:
    """A socket that is ready to connect."""

    address: IPAddress
    port: int
    protocol: Protocol
    sockaddr: Sockaddr
    opened: socket.socket

    def describe(self) -> str:
        """One line for -v."""
        port = self.opened.getsockname()[1]
        return f"{self.address} through a kernel socket: this host's rules and NAT apply" + (
            f", port {port}" if port else ""
        )


class KernelSockets:
    """prepare() may need privileges (a low port, --netns), dial() does not."""

    def __init__(self, *, netns: str | int | None = None, options: Options | None = None) -> None:
        self._options = options
        self._netns = NetworkNamespace(netns) if netns is not None else None
        self._waiting: set[KernelAttempt] = set()
        self._sessions: WeakSet[KernelSession] = WeakSet()

    def prepare(
        self,
        destination: IPAddress,
        port: int,
        *,
        protocol: Protocol,
        source: IPAddress | None = None,
        source_port: int = 0,
        interface: str | None = None,
        via: IPAddress | bytes | None = None,
        table: int | str | None = None,
    ) -> KernelAttempt:
        """Open and bind a socket in the namespace.

        ``via`` must be None, and ``table`` None or the name of a VRF's interface: the kernel's
        routes hold. Errors: PortTaken, BadArgument and the like.
        """
        assert via is None, "a kernel socket goes by the host's routes"

        def ready() -> KernelAttempt:
            address = sockaddr(destination, port)
            opened = open_socket(
                destination,
                protocol,
                source=source,
                source_port=source_port,
                interface=interface if table is None else vrf(table),
                options=self._options,
            )
            return KernelAttempt(destination, port, protocol, address, opened)

        attempt = ready() if self._netns is None else self._netns.call(ready)
        self._waiting.add(attempt)
        return attempt

    def dial(
        self, attempt: KernelAttempt, *, timeout: float | None, cancel_fd: int | None = None
    ) -> KernelSession:
        """Connect the attempt's socket. ``timeout`` in seconds.

        Errors: NetworkErrors as far as the kernel tells them apart; Cancelled.
        """
        self._waiting.discard(attempt)
        unbound = type(attempt.address)(0)
        flow = Flow(attempt.protocol, unbound, 0, attempt.address, attempt.port)
        session = KernelSession(KernelEndpoint(attempt.opened, attempt.protocol), flow)
        session.connect(attempt.sockaddr, timeout, cancel_fd)
        self._sessions.add(session)
        return session

    def notes(self) -> list[str]:
        """Nothing beside the attempts' own."""
        return []

    def drop_privileges(self) -> None:
        """Give up every capability of this thread, for good."""
        drop_all()

    def load(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """End what is open (RST), and what was never dialled; more than once is once."""
        while self._waiting:
            self._waiting.pop().opened.close()
        for session in list(self._sessions):
            session.abort()
        if self._netns is not None:
            self._netns.close()
