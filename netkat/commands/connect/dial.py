"""Try the addresses in order until one answers; report each failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from netkat.commands.connect.connect_request import ConnectRequest
from netkat.commands.connect.targets import FailedAttempt, Targets
from netkat.commands.report.status_lines import Target
from netkat.commands.signals import Signals
from netkat.errors import (
    InterfaceDown,
    NetkatError,
    NetworkError,
    NoRoute,
    OwnAddress,
    PortTaken,
)
from netkat.flow import Protocol

if TYPE_CHECKING:
    from netkat.commands.connect.proxy_route import ProxiedTarget
    from netkat.commands.core import Attempt, Core
    from netkat.conn import AnyConnection, TcpConnection, UdpConnection
    from netkat.conn.interfaces import Session

_NEXT_ADDRESS = (NetworkError, NoRoute, OwnAddress, InterfaceDown, PortTaken)
"""Errors of one address: the next may still work."""


class Opened(NamedTuple):
    """A connection and its destination."""

    conn: AnyConnection
    target: Target
    notes: tuple[str, ...] = ()
    """Further lines for -v."""


def dial(
    core: Core,
    targets: Targets,
    request: ConnectRequest,
    say: Callable[[str], None],
    signals: Signals,
    failed: Callable[[Target, NetkatError], None],
    tunnel: ProxiedTarget | None = None,
) -> Opened | int:
    """Return the first connection that succeeds, or the exit code after reporting the failures.

    ``failed`` gets the most relevant failure. With a ``tunnel`` the addresses are its proxy's.

    Errors: NetkatError that is not of one address alone; Interrupted.
    """
    from netkat.engine.wait import CONNECT_TIMEOUT

    timeout = CONNECT_TIMEOUT if request.wait is None else request.wait
    failures: list[tuple[Target, NetkatError]] = []
    for attempt in targets.attempts:
        signals.check()
        target = _target(attempt, request, tunnel)
        try:
            conn = _connect(core, attempt, request.protocol, timeout, signals)
            if tunnel is not None:
                target = tunnel.destination_via(target)
            opened = _opened(conn, target, request, say, timeout, signals, tunnel)
        except _NEXT_ADDRESS as error:
            signals.check()
            failures.append((target, error))
            if request.verbosity:
                say(f"netkat: {target.failed_line(error.message)}")
            continue
        line = target.succeeded_line() if request.protocol is Protocol.TCP else target.ready_line()
        for note in (line, *opened.notes) if request.verbosity else ():
            say(note)
        return opened
    return _give_up(failures, request, say, failed)


def _connect(
    core: Core, attempt: Attempt, protocol: Protocol, timeout: float, signals: Signals
) -> TcpConnection | UdpConnection:
    """Connect to one address. Errors: its own, and Cancelled after a signal."""
    if isinstance(attempt, FailedAttempt):
        raise attempt.error
    return connection_on(core.dial(attempt, timeout=timeout, cancel_fd=signals.fd), protocol)


def connection_on(session: Session, protocol: Protocol) -> TcpConnection | UdpConnection:
    """The connection of a session. Imported here: the SYN does not wait for it."""
    from netkat.conn import TcpConnection, UdpConnection

    return UdpConnection(session) if protocol is Protocol.UDP else TcpConnection(session)


def _target(attempt: Attempt, request: ConnectRequest, tunnel: ProxiedTarget | None) -> Target:
    """Return the destination of the attempt, or its proxy."""
    if tunnel is not None:
        return tunnel.proxy_target(attempt.address, attempt.port, request.numeric)
    return Target(request.host, attempt.address, attempt.port, request.protocol, request.numeric)


def _opened(
    conn: TcpConnection | UdpConnection,
    target: Target,
    request: ConnectRequest,
    say: Callable[[str], None],
    timeout: float,
    signals: Signals,
    tunnel: ProxiedTarget | None,
) -> Opened:
    """Connect through the proxy, and add TLS, as the request asks for.

    Errors: ProxyFailed, TlsFailed and their kinds; the connection is aborted then.
    """
    from netkat.conn import TcpConnection

    if not isinstance(conn, TcpConnection):
        return Opened(conn, target)
    notes: list[str] = []
    if tunnel is not None:
        notes.append(f"netkat: {tunnel.open(conn, timeout=timeout, cancel_fd=signals.fd)}")
    if request.tls is None:
        return Opened(conn, target, tuple(notes))
    tls = request.tls.wrap(conn, request.host, timeout=timeout, cancel_fd=signals.fd)
    warning = request.tls.warning(tls)
    if warning is not None:
        say(f"netkat: {warning}")
    notes += [f"netkat: {line}" for line in request.tls.describe(tls)]
    return Opened(tls, target, tuple(notes))


def _give_up(
    failures: list[tuple[Target, NetkatError]],
    request: ConnectRequest,
    say: Callable[[str], None],
    failed: Callable[[Target, NetkatError], None],
) -> int:
    """Report the last error of the network, or of an address that could not be tried."""
    answered = [failure for failure in failures if isinstance(failure[1], NetworkError)]
    target, error = (answered or failures)[-1]
    failed(target, error)
    if not request.verbosity:
        more = f" (tried {len(failures)} addresses)" if len(failures) > 1 else ""
        say(f"netkat: {target.failed_line(error.message)}{more}")
    # Hints that are the same for every error of a class are for -v.
    own = "hint" in vars(error)
    if error.hint is not None and (request.verbosity or own):
        say(f"  next: {error.hint}")
    return error.exit_code
