"""One connection from its name to its end: resolve, prepare, drop, load, dial, relay."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from netkat.commands.connect.connect_request import ConnectRequest
from netkat.commands.connect.dial import Opened, dial
from netkat.commands.connect.targets import prepare_targets
from netkat.commands.relay.relay_options import PLAIN
from netkat.commands.report import status_lines
from netkat.commands.report.connection_report import ConnectionReport
from netkat.commands.report.reporter import Reporter
from netkat.commands.signals import Signals
from netkat.commands.startup import open_core, resolve, resolve_within, start
from netkat.errors import NetkatError, NetworkError
from netkat.flow import Protocol

if TYPE_CHECKING:
    from netkat.commands.connect.proxy_route import ProxiedTarget
    from netkat.commands.exec_program import Program
    from netkat.commands.relay.relay import Relay

Say = Callable[[str], None]

QUESTION = 16384
"""Bytes of input that may be a request without a reply; more is an upload."""

_GOODBYE = 0.3
"""Seconds to wait for the acknowledgment of the FIN after a signal."""

_HALF_CLOSED = (
    "use --no-shutdown, or keep stdin open: (cat; sleep 5) | netkat HOST PORT. Some servers"
    " (Envoy) drop a client that half-closes before the answer"
)
_HALF_CLOSED_PROXY = (
    "use --no-shutdown, or keep stdin open: (cat; sleep 5) | netkat -x PROXY HOST PORT. Many"
    " proxies close both directions when one closes"
)


def connect(request: ConnectRequest, say: Say) -> int:
    """Connect as requested; Lines for stderr go to the callback. Returns the exit code.

    Errors: NetkatError that is not of one address, Interrupted.
    All resources are released before it returns.
    """
    with Signals() as signals:
        try:
            return _reported(request, say, signals)
        except Exception:
            # A wait that a signal ended raises its own error: report the signal instead.
            signals.check()
            raise


def _reported(request: ConnectRequest, say: Say, signals: Signals) -> int:
    """Run the connection and report its result; an error in the JSON is not printed again."""
    report = ConnectionReport("connect", str(request.protocol), request.host)
    verbose = bool(request.verbosity or request.show_frames)
    # -z transfers no data and prints its own results.
    options = PLAIN if request.zero else request.relay
    reporter = Reporter(options, say, quiet_report=report, verbose=verbose)
    try:
        with reporter, ExitStack() as undo:
            code = _connect(request, reporter, report, signals, undo)
        reporter.dump.raise_error()
    except Exception as error:
        if signals.received is not None:
            from netkat.commands.relay.stop_rules import StopReason

            report.end_reason = StopReason.CANCELLED.value
            reporter.emit(report)
        elif reporter.emit(report, error) and isinstance(error, NetkatError):
            return error.exit_code
        raise
    reporter.emit(report)
    return code


def _connect(
    request: ConnectRequest,
    reporter: Reporter,
    report: ConnectionReport,
    signals: Signals,
    undo: ExitStack,
) -> int:
    if request.zero and request.tls is None and request.proxy is None:
        from netkat.commands.connect.scan import scan

        return scan(request, reporter.say, signals, undo)
    tunnel = _tunnel(request, signals)
    addresses = resolve(request, signals)
    core, targets = start(
        partial(open_core, request),
        lambda core: prepare_targets(core, addresses, request.protocol),
        request,
        reporter.say,
        signals,
        undo,
    )
    opened = dial(core, targets, request, reporter.say, signals, report.set_failed_attempt, tunnel)
    if isinstance(opened, int):
        return opened
    if request.zero:
        _part(opened)
        return 0
    report.set_connection(opened.conn)
    try:
        return _relay(opened, request, reporter, report, signals)
    except NetkatError as error:
        if isinstance(error, NetworkError):
            error.message = opened.target.ended_line(error.message)
        raise


def _tunnel(request: ConnectRequest, signals: Signals) -> ProxiedTarget | None:
    """Return the destination behind the proxy, if any. Errors: NameNotFound, BadArgument."""
    if request.proxy is None:
        return None
    asking = partial(resolve_within, request=request, signals=signals)
    return request.proxy.tunnel(request.host, request.port, request.version, asking)


def _relay(
    opened: Opened,
    request: ConnectRequest,
    reporter: Reporter,
    report: ConnectionReport,
    signals: Signals,
) -> int:
    if request.command is not None:
        return _command(opened, request.command, request, reporter, report, signals)
    from netkat.commands.relay.relay import Relay
    from netkat.commands.relay.stop_rules import StopReason

    relay = Relay(
        reporter.dump.tee(opened.conn),
        stdin=0 if request.read_stdin else None,
        stdout=1,
        cancel_fd=signals.fd,
        options=request.relay,
        version=opened.target.address.version,
    )
    keep, reason = False, None
    reporter.progress.begin(relay, opened.conn)
    try:
        reason = relay.run()
        if reason is not StopReason.CANCELLED:
            _explain_silence(opened, relay)
        keep = reason is not StopReason.OUTPUT_CLOSED
    finally:
        reporter.progress.end(relay)
        report.set_transfer(relay, reason)
        report.read_stats(opened.conn)
        if not keep:
            opened.conn.abort()
    if reason is StopReason.CANCELLED:
        _part(opened, relay.pending)
        signals.check()
    opened.conn.close()
    relay.close()
    _sum_up(relay, opened, request, report, reporter.say)
    return 0


def _command(
    opened: Opened,
    command: Program,
    request: ConnectRequest,
    reporter: Reporter,
    report: ConnectionReport,
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
        reporter=reporter,
        report=report,
    )
    signals.check()
    return status


def _explain_silence(opened: Opened, relay: Relay) -> None:
    """Raise the error that explains why no reply was received, if there is one."""
    from netkat.conn import UdpConnection

    conn = opened.conn
    if isinstance(conn, UdpConnection) and relay.sent and not relay.received:
        fault = conn.unanswered()
        if fault is not None:
            raise fault


def _part(opened: Opened, pending: int = 0) -> None:
    """Close at once: with FIN if the peer acknowledged all data, else with RST."""
    from netkat.commands.relay.drain import AckWaiter, unacked_bytes

    conn = opened.conn
    if conn.protocol is Protocol.TCP and not pending and not unacked_bytes(conn):
        with contextlib.suppress(NetkatError, OSError):
            AckWaiter(conn, cancel_fd=None).wait(_GOODBYE, needs_fin=False)
            conn.close()
            return
    conn.abort()


def _sum_up(
    relay: Relay, opened: Opened, request: ConnectRequest, report: ConnectionReport, say: Say
) -> None:
    from netkat.commands.relay.stop_rules import StopReason

    if report.end_reason == StopReason.IDLE_TIMEOUT.value and request.verbosity:
        say(status_lines.idle_line(request.relay.idle))
    stream = request.protocol is Protocol.TCP
    if stream and relay.peer_closed_after_fin and 0 < relay.sent <= QUESTION:
        what = f"peer closed after EOF on stdin without sending data [{relay.sent} bytes sent]"
        say(f"netkat: {opened.target.ended_line(what)}")
        say(f"  next: {_HALF_CLOSED if opened.target.proxy is None else _HALF_CLOSED_PROXY}")
    for line in report.summary_lines(request.verbosity):
        say(line)
