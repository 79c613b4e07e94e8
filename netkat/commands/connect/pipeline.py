"""One connection from its name to its end: resolve, prepare, drop, load, dial, relay."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from netkat.commands.connect.connect_request import Request
from netkat.commands.connect.dial import Opened, dial
from netkat.commands.connect.targets import prepare_targets
from netkat.commands.relay.relay_options import PLAIN
from netkat.commands.report import status_lines
from netkat.commands.report.connection_report import Account
from netkat.commands.report.reporter import Reports
from netkat.commands.signals import Signals
from netkat.commands.startup import bring_up, look_up, open_core, resolve
from netkat.errors import NetkatError, NetworkError
from netkat.flow import Protocol

if TYPE_CHECKING:
    from netkat.commands.connect.proxy_route import Tunnel
    from netkat.commands.exec_program import Command
    from netkat.commands.relay.relay import Relay

Say = Callable[[str], None]

QUESTION = 16384
"""Bytes of input that may have been a question whose answer is missing; more is an upload."""

_GOODBYE = 0.3
"""Seconds that an end by signal leaves for the FIN's acknowledgement."""

_HALF_CLOSED = (
    "some servers (Envoy) drop a client that half-closes before it has the answer: --no-shutdown"
    " sends no FIN; or keep the input open, as in (cat; sleep 5) | netkat HOST PORT"
)
_HALF_CLOSED_PROXY = (
    "many proxies end both directions when one ends: --no-shutdown, or keep the input open, as in"
    " (cat; sleep 5) | netkat -x PROXY HOST PORT"
)


def connect(request: Request, say: Say) -> int:
    """Do what was asked; ``say`` takes the lines for stderr. Returns the exit code.

    Errors: NetkatError for what is not of one address alone, Interrupted.
    Whatever way it ends, all that it made is taken down before.
    """
    with Signals() as signals:
        try:
            return _reported(request, say, signals)
        except Exception:
            # A wait that the signal ended early has words of its own for that.
            signals.check()
            raise


def _reported(request: Request, say: Say, signals: Signals) -> int:
    """A fault that the JSON tells of is said once."""
    account = Account("connect", str(request.protocol), request.host)
    wordy = bool(request.verbosity or request.show_frames)
    # -z moves no bytes, and has words of its own.
    options = PLAIN if request.zero else request.relay
    reports = Reports(options, say, alone=account, wordy=wordy)
    try:
        with reports, ExitStack() as undo:
            code = _connect(request, reports, account, signals, undo)
        reports.record.raise_fault()
    except Exception as error:
        if signals.received is not None:
            from netkat.commands.relay.stop_rules import Ending

            account.ending = Ending.CANCELLED.value
            reports.tell(account)
        elif reports.tell(account, error) and isinstance(error, NetkatError):
            return error.exit_code
        raise
    reports.tell(account)
    return code


def _connect(
    request: Request, reports: Reports, account: Account, signals: Signals, undo: ExitStack
) -> int:
    if request.zero and request.tls is None and request.through is None:
        from netkat.commands.connect.scan import scan

        return scan(request, reports.say, signals, undo)
    tunnel = _tunnel(request, signals)
    addresses = resolve(request, signals)
    core, targets = bring_up(
        partial(open_core, request),
        lambda core: prepare_targets(core, addresses, request.protocol),
        request,
        reports.say,
        signals,
        undo,
    )
    opened = dial(core, targets, request, reports.say, signals, account.refused, tunnel)
    if isinstance(opened, int):
        return opened
    if request.zero:
        _part(opened)
        return 0
    account.opened(opened.conn)
    try:
        return _relay(opened, request, reports, account, signals)
    except NetkatError as error:
        if isinstance(error, NetworkError):
            error.message = opened.target.ended(error.message)
        raise


def _tunnel(request: Request, signals: Signals) -> Tunnel | None:
    """What a proxy will be asked for, if one is. Errors: NameNotFound, BadArgument."""
    if request.through is None:
        return None
    asking = partial(look_up, request=request, signals=signals)
    return request.through.tunnel(request.host, request.port, request.version, asking)


def _relay(
    opened: Opened, request: Request, reports: Reports, account: Account, signals: Signals
) -> int:
    if request.command is not None:
        return _command(opened, request.command, request, reports, account, signals)
    from netkat.commands.relay.relay import Relay
    from netkat.commands.relay.stop_rules import Ending

    relay = Relay(
        reports.record.of(opened.conn),
        stdin=0 if request.read_stdin else None,
        stdout=1,
        cancel_fd=signals.fd,
        options=request.relay,
        version=opened.target.address.version,
    )
    keep, ending = False, None
    reports.progress.begin(relay, opened.conn)
    try:
        ending = relay.run()
        if ending is not Ending.CANCELLED:
            _explain_silence(opened, relay)
        keep = ending is not Ending.READER_GONE
    finally:
        reports.progress.end(relay)
        account.relayed(relay, ending)
        account.look(opened.conn)
        if not keep:
            opened.conn.abort()
    if ending is Ending.CANCELLED:
        _part(opened, relay.in_hand)
        signals.check()
    opened.conn.close()
    relay.close()
    _sum_up(relay, opened, request, account, reports.say)
    return 0


def _command(
    opened: Opened,
    command: Command,
    request: Request,
    reports: Reports,
    account: Account,
    signals: Signals,
) -> int:
    from netkat.commands.exec_program import serve

    status = serve(
        opened.conn,
        command,
        peer=opened.conn.getpeername(),
        cancel_fd=signals.fd,
        options=request.relay,
        verbosity=request.verbosity,
        reports=reports,
        account=account,
    )
    signals.check()
    return status


def _explain_silence(opened: Opened, relay: Relay) -> None:
    """Datagrams that nobody answered: no fault by itself, unless the wire shows one."""
    from netkat.conn import UdpConnection

    conn = opened.conn
    if isinstance(conn, UdpConnection) and relay.sent and not relay.received:
        fault = conn.unanswered()
        if fault is not None:
            raise fault


def _part(opened: Opened, in_hand: int = 0) -> None:
    """Leave at once: with a FIN where the peer has all that it was promised, else with a RST."""
    from netkat.commands.relay.drain import Delivery, open_bytes

    conn = opened.conn
    if conn.protocol is Protocol.TCP and not in_hand and not open_bytes(conn):
        with contextlib.suppress(NetkatError, OSError):
            Delivery(conn, cancel_fd=None).wait(_GOODBYE, needs_fin=False)
            conn.close()
            return
    conn.abort()


def _sum_up(relay: Relay, opened: Opened, request: Request, account: Account, say: Say) -> None:
    from netkat.commands.relay.stop_rules import Ending

    if account.ending == Ending.IDLE.value and request.verbosity:
        say(status_lines.idle(request.relay.idle))
    stream = request.protocol is Protocol.TCP
    if stream and relay.peer_closed_after_us and (request.verbosity or relay.sent <= QUESTION):
        what = f"closed after our end of input, without a byte [{relay.sent} bytes sent]"
        say(f"netkat: {opened.target.ended(what)}")
        say(f"  next: {_HALF_CLOSED if opened.target.proxy is None else _HALF_CLOSED_PROXY}")
    for line in account.words(request.verbosity):
        say(line)
