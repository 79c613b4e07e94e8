"""One address after the other, until one answers; each failure in its own words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from netkat.apps.request import Request
from netkat.apps.signals import Signals
from netkat.apps.words import Target
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
    from netkat._api import AnyAttempt, Dialer
    from netkat.apps.through import Tunnel
    from netkat.conn import AnyConnection, TcpConnection, UdpConnection

_NEXT_ADDRESS = (NetworkError, NoRoute, OwnAddress, InterfaceDown, PortTaken)
"""Faults of one address: the next may still do."""


class Opened(NamedTuple):
    """A connection, and where it goes."""

    conn: AnyConnection
    target: Target
    told: tuple[str, ...] = ()
    """What else there is to say about it at -v."""


def dial(
    dialer: Dialer,
    request: Request,
    say: Callable[[str], None],
    signals: Signals,
    failed: Callable[[Target, NetkatError], None],
    tunnel: Tunnel | None = None,
) -> Opened | int:
    """The first address that answers, or the exit code when none does, said already.

    ``failed`` is told what counts most where none does. With a ``tunnel`` the addresses are
    those of its proxy.

    Errors: NetkatError that is not of one address alone; Interrupted.
    """
    from netkat._api import CONNECT_TIMEOUT

    timeout = CONNECT_TIMEOUT if request.wait is None else request.wait
    failures: list[tuple[Target, NetkatError]] = []
    for attempt in dialer.attempts:
        signals.check()
        target = _target(attempt, request, tunnel)
        try:
            conn = dialer.connect(attempt, timeout=timeout, cancel_fd=signals.fd)
            if tunnel is not None:
                target = tunnel.beyond(target)
            opened = _opened(conn, target, request, say, timeout, signals, tunnel)
        except _NEXT_ADDRESS as error:
            signals.check()
            failures.append((target, error))
            if request.verbosity:
                say(f"netkat: {target.failed(error.message)}")
            continue
        line = target.succeeded() if request.protocol is Protocol.TCP else target.ready()
        for told in (line, *opened.told) if request.verbosity else ():
            say(told)
        return opened
    return _give_up(failures, request, say, failed)


def _target(attempt: AnyAttempt, request: Request, tunnel: Tunnel | None) -> Target:
    """What the attempt itself goes to: the proxy, where there is one."""
    if tunnel is not None:
        return tunnel.proxy_at(attempt.address, attempt.port, request.numeric)
    return Target(request.host, attempt.address, attempt.port, request.protocol, request.numeric)


def _opened(
    conn: TcpConnection | UdpConnection,
    target: Target,
    request: Request,
    say: Callable[[str], None],
    timeout: float,
    signals: Signals,
    tunnel: Tunnel | None,
) -> Opened:
    """Through the proxy and with TLS over it, where that is asked for.

    Errors: ProxyFailed, TlsFailed and their kinds; the connection is aborted then.
    """
    from netkat.conn import TcpConnection

    if not isinstance(conn, TcpConnection):
        return Opened(conn, target)
    told: list[str] = []
    if tunnel is not None:
        told.append(f"netkat: {tunnel.open(conn, timeout=timeout, cancel_fd=signals.fd)}")
    if request.tls is None:
        return Opened(conn, target, tuple(told))
    tls = request.tls.over(conn, request.host, timeout=timeout, cancel_fd=signals.fd)
    warning = request.tls.warning(tls)
    if warning is not None:
        say(f"netkat: {warning}")
    told += [f"netkat: {line}" for line in request.tls.told(tls)]
    return Opened(tls, target, tuple(told))


def _give_up(
    failures: list[tuple[Target, NetkatError]],
    request: Request,
    say: Callable[[str], None],
    failed: Callable[[Target, NetkatError], None],
) -> int:
    """The last word of the network counts more than an address that could not be tried."""
    answered = [failure for failure in failures if isinstance(failure[1], NetworkError)]
    target, error = (answered or failures)[-1]
    failed(target, error)
    if not request.verbosity:
        more = f"; the last of {len(failures)} addresses" if len(failures) > 1 else ""
        say(f"netkat: {target.failed(error.message)}{more}")
    # What holds for every fault of its kind is for those who ask for more.
    own = "hint" in vars(error)
    if error.hint is not None and (request.verbosity or own):
        say(f"  next: {error.hint}")
    return error.exit_code
