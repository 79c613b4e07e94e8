"""What the public door and the apps are made of: targets in, connections out."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from netkat.closing import Closing
from netkat.engine.bypass import Attempt, Bypass, Cancelled
from netkat.engine.wait import CONNECT_TIMEOUT
from netkat.errors import InterfaceDown, NetkatError, NoRoute, OwnAddress, PortTaken
from netkat.flow import IPAddress, Protocol
from netkat.host.resolve import resolve
from netkat.options import DEFAULT_PATH, PathOptions

if TYPE_CHECKING:
    from netkat.conn import TcpConnection, UdpConnection
    from netkat.conn.session import Session
    from netkat.engine.pump import Tap
    from netkat.kernel.sockets import KernelAttempt, KernelSockets
    from netkat.options import SocketOptions

__all__ = [
    "CONNECT_TIMEOUT",
    "Cancelled",
    "Dialer",
    "FailedAttempt",
    "clean",
    "load_library",
    "resolve",
]

_PER_TARGET = (NoRoute, OwnAddress, InterfaceDown, PortTaken)
"""Faults of one target: another one may still be reached."""


class FailedAttempt:
    """A target that could not even be tried; connecting to it raises ``error``."""

    def __init__(self, address: IPAddress, port: int, error: NetkatError) -> None:
        self.address, self.port, self.error = address, port, error


AnyAttempt: TypeAlias = "Attempt | KernelAttempt | FailedAttempt"


class Outbound(Closing):
    """Every target made ready at once, so that privileges can be dropped before the first packet.

    With ``kernel`` they are connections of kernel sockets, for comparison. Each is for one
    peer, or with ``peers`` for that many ports of the target.

    Made, it holds wires, guards and reserved ports. load() brings the Go library
    and its threads; what follows needs neither privileges nor host facts any more.
    """

    def __init__(
        self,
        targets: Iterable[tuple[IPAddress, int]],
        *,
        protocol: Protocol = Protocol.TCP,
        options: PathOptions = DEFAULT_PATH,
        socket_options: SocketOptions | None = None,
        tap: Tap | None = None,
        kernel: bool = False,
        peers: int = 1,
    ) -> None:
        self._way: Bypass | KernelSockets
        if kernel:
            from netkat.kernel.sockets import KernelSockets

            self._way = KernelSockets(options, socket_options=socket_options)
        else:
            self._way = Bypass(options, socket_options=socket_options, tap=tap)
        self._protocol = protocol
        self.attempts: list[AnyAttempt] = []
        prepare = partial(self._way.prepare, protocol=protocol, peers=peers)
        try:
            for address, port in targets:
                try:
                    self.attempts.append(prepare(address, port))
                except _PER_TARGET as error:
                    self.attempts.append(FailedAttempt(address, port, error))
        except BaseException:
            self.close()
            raise

    @property
    def notes(self) -> list[str]:
        """What was decided, for -v: each path, and each uplink's guard."""
        return [
            attempt.describe()
            for attempt in self.attempts
            if not isinstance(attempt, FailedAttempt)
        ] + self._way.notes()

    @property
    def warnings(self) -> list[str]:
        """What people should know unasked."""
        return [
            f"{attempt.address} is an address of this host (as IPVS has it): sent to the network"
            " all the same, by the route that it has besides"
            for attempt in self.attempts
            if isinstance(attempt, Attempt) and attempt.path.past_local
        ]

    def drop_privileges(self) -> None:
        """Give up every capability of this thread, for good. Errors: SetupError."""
        self._way.drop_privileges()

    def load(self) -> None:
        """Load the Go library and start the pumps."""
        self._way.load()

    def close(self) -> None:
        """End every connection and undo all that was made; more than once is once."""
        self._way.close()


class Dialer(Outbound):
    """A connection to a target at a time."""

    def connect(
        self,
        attempt: AnyAttempt,
        *,
        timeout: float | None = CONNECT_TIMEOUT,
        cancel_fd: int | None = None,
    ) -> TcpConnection | UdpConnection:
        """Dial one attempt; ``timeout`` in seconds. Cancelled when ``cancel_fd`` polls readable.

        Errors: netkat.errors, by what the wire saw.
        """
        if isinstance(attempt, FailedAttempt):
            raise attempt.error
        session: Session = self._way.dial(attempt, timeout=timeout, cancel_fd=cancel_fd)  # type: ignore[arg-type]
        # What a program holds is not needed before the SYN.
        from netkat.conn import TcpConnection, UdpConnection

        if self._protocol is Protocol.UDP:
            return UdpConnection(session)
        return TcpConnection(session)


def clean() -> list[str]:
    """Remove what killed runs of netkat left behind, and nothing else; a line for each thing."""
    from netkat.bpf.leftovers import remove

    return [str(leftover) for leftover in remove()]


def load_library() -> str:
    """Load the Go library, and with it its threads; a line about it.

    Errors: LibraryMissing, LibraryMismatch.
    """
    from netkat.stack.ffi import LIBRARY, load

    return f"{LIBRARY.name}, ABI {load().calls.gs_abi()}"
