"""One address after the other, until one answers; each failure in its own words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    from netkat._api import Dialer
    from netkat.conn import AnyConnection, TcpConnection, UdpConnection

_NEXT_ADDRESS = (NetworkError, NoRoute, OwnAddress, InterfaceDown, PortTaken)
"""Faults of one address: the next may still do."""


@dataclass(frozen=True, slots=True)
class Opened:
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
) -> Opened | int:
    """The first address that answers, or the exit code when none does, said already.

    ``failed`` is told what counts most where none does.

    Errors: NetkatError that is not of one address alone; Interrupted.
    """
    from netkat._api import CONNECT_TIMEOUT

    timeout = CONNECT_TIMEOUT if request.wait is None else request.wait
    failures: list[tuple[Target, NetkatError]] = []
    for attempt in dialer.attempts:
        signals.check()
        target = Target(
            request.host, attempt.address, attempt.port, request.protocol, request.numeric
        )
        try:
            conn = dialer.connect(attempt, timeout=timeout, cancel_fd=signals.fd)
            opened = _opened(conn, target, request, say, timeout, signals)
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


def _opened(
    conn: TcpConnection | UdpConnection,
    target: Target,
    request: Request,
    say: Callable[[str], None],
    timeout: float,
    signals: Signals,
) -> Opened:
    """With TLS over it, where that is asked for. Errors: TlsFailed and its kinds; it is aborted."""
    from netkat.conn import TcpConnection

    if request.tls is None or not isinstance(conn, TcpConnection):
        return Opened(conn, target)
    tls = request.tls.over(conn, request.host, timeout=timeout, cancel_fd=signals.fd)
    warning = request.tls.warning(tls)
    if warning is not None:
        say(f"netkat: {warning}")
    return Opened(tls, target, tuple(f"netkat: {line}" for line in request.tls.told(tls)))


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
