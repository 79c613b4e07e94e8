"""-z: which ports answer. Words on stderr as netcat's, a line of JSON a port on stdout."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from netkat.commands.connect.targets import FailedAttempt, prepare_targets
from netkat.commands.relay.stdio import Output, StopEvent
from netkat.commands.report.connection_report import error_as_dict
from netkat.commands.report.status_lines import Target
from netkat.commands.startup import open_core, resolve, start
from netkat.errors import NameNotFound, NetkatError, NetworkError, NoAnswer, Refused
from netkat.flow import Protocol

if TYPE_CHECKING:
    from netkat.commands.connect.connect_request import ConnectRequest
    from netkat.commands.core import Attempt, Core
    from netkat.commands.signals import Signals
    from netkat.conn.port_scan import Outcome, Ports

Say = Callable[[str], None]

VERSION = 1
"""Of a line of JSON: docs/json/port.schema.json."""

_GOODBYE = 0.3
"""Seconds that the peers of connections that came about have for their own ends."""


def scan(request: ConnectRequest, say: Say, signals: Signals, undo: ExitStack) -> int:
    """Probe every port, report its state, and return the exit code: 0 if any is open.

    Errors: NetkatError that is not of one address or port, Interrupted.
    """
    from netkat.conn.port_scan import UDP_WAIT, PortScan
    from netkat.engine.bypass import Cancelled
    from netkat.engine.wait import CONNECT_TIMEOUT

    found = resolve(request, signals)
    ports = _numbers(request)
    addresses = {address: ports[0] for address, _ in found}
    core, targets = start(
        partial(open_core, request),
        lambda core: prepare_targets(core, addresses.items(), request.protocol, peers=len(ports)),
        request,
        say,
        signals,
        undo,
    )
    timeout = request.wait
    if timeout is None:
        stream = request.protocol is Protocol.TCP
        timeout = CONNECT_TIMEOUT if stream else UDP_WAIT
    stop = StopEvent()
    undo.callback(stop.close)
    results = _Results(request, say, len(ports), Output(1, stop) if request.relay.json else None)
    try:
        for outcome in PortScan(
            [(attempt.address, _ports_of(core, attempt)) for attempt in targets.attempts],
            ports,
            request.protocol,
            timeout=timeout,
            cancel_fd=signals.fd,
        ):
            results.add(outcome)
    except Cancelled:
        results.report_rest()
        signals.check()
        raise
    except BrokenPipeError:
        # The reader of the JSON is gone.
        return results.code
    results.sum_up()
    core.wait_closed(_GOODBYE)
    return results.code


def _ports_of(core: Core, attempt: Attempt) -> Ports | NetkatError:
    return attempt.error if isinstance(attempt, FailedAttempt) else core.share_port(attempt)


def _numbers(request: ConnectRequest) -> list[int]:
    """The ports, none twice, in the order asked for or in none."""
    ports = list(dict.fromkeys(_number(port, request) for port in request.ports))
    if request.shuffle:
        import random

        random.shuffle(ports)
    return ports


def _number(port: int | str, request: ConnectRequest) -> int:
    if isinstance(port, int):
        return port
    if request.numeric:
        raise NameNotFound(f"{port}: not a port number (-n disables service names)")
    import socket

    try:
        return socket.getservbyname(port, str(request.protocol))
    except (OSError, UnicodeError):
        raise NameNotFound(
            f"{port}/{request.protocol}: no such service",
            hint="use a port number, or a name of /etc/services",
        ) from None


class _Results:
    """Collects results in any order and reports them in the order of the ports."""

    def __init__(
        self, request: ConnectRequest, say: Say, ports: int, output: Output | None
    ) -> None:
        self._request, self._say, self._ports, self._output = request, say, ports, output
        self._pending: dict[int, list[Outcome]] = {}
        self._next = 0
        self._open = self._silent = 0
        self._icmp_refused = False
        self._faults: list[NetkatError] = []

    @property
    def code(self) -> int:
        """0 if any port is open, or a UDP port may be (1 with --require-reply)."""
        if self._open or (self._silent and not self._request.require_reply):
            return 0
        of_network = [fault for fault in self._faults if isinstance(fault, NetworkError)]
        return 1 if of_network or self._silent or not self._faults else self._faults[-1].exit_code

    def add(self, outcome: Outcome) -> None:
        """One more. Errors: BrokenPipeError."""
        self._pending.setdefault(outcome.place, []).append(outcome)
        while self._next in self._pending and self._pending[self._next][-1].last:
            self._report(self._pending.pop(self._next))
            self._next += 1

    def report_rest(self) -> None:
        """Report the finished ports behind an unfinished one, after a cancellation."""
        for place in sorted(self._pending):
            if self._pending[place][-1].last:
                self._report(self._pending.pop(place))

    def sum_up(self) -> None:
        """Print the hints: of one port its own, of several each distinct one once."""
        verbose = bool(self._request.verbosity)
        if not self._open and self._faults:
            if self._ports == 1:
                self._hint(self._faults[-1], verbose)
            elif verbose:
                hints = {fault.hint for fault in self._faults if "hint" in vars(fault)}
                for hint in sorted(hint for hint in hints if hint is not None):
                    self._say(f"  next: {hint}")
        if verbose and self._silent and self._icmp_refused:
            self._say(
                "  next: scan fewer ports at a time: hosts limit ICMP errors (Linux: 6, then 1 per"
                " second), so ports without a reply may be closed"
            )

    def _hint(self, fault: NetkatError, verbose: bool) -> None:
        own = "hint" in vars(fault) and not isinstance(fault, NetworkError)
        if fault.hint is not None and (verbose or own):
            self._say(f"  next: {fault.hint}")

    def _report(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            self._report_one(outcome)
        final = outcomes[-1]
        self._open += final.answered
        self._silent += not final.answered and final.fault is None
        self._faults += [outcome.fault for outcome in outcomes if outcome.fault is not None]
        if self._output is not None:
            line = json.dumps(self._record(final)) + "\n"
            self._output.write(memoryview(line.encode()))

    def _report_one(self, outcome: Outcome) -> None:
        target, fault = self._target(outcome), outcome.fault
        if isinstance(fault, Refused):
            self._icmp_refused = self._icmp_refused or fault.by != "RST"
        # An error before the first packet is printed without -v, once.
        unconditional = fault is not None and not isinstance(fault, NetworkError)
        if not self._request.verbosity and (not unconditional or self._faults):
            return
        if fault is not None:
            self._say(f"netkat: {target.failed_line(fault.message)}")
        elif outcome.answered:
            self._say(target.succeeded_line())
        else:
            self._say(f"netkat: {target.no_reply_line(outcome.sent)}")

    def _record(self, outcome: Outcome) -> dict[str, Any]:
        service = self._target(outcome).service
        return {
            "version": VERSION,
            "command": "connect",
            "protocol": str(self._request.protocol),
            "host": self._request.host,
            "address": str(outcome.address),
            "port": outcome.port,
            "service": None if service == "*" else service,
            "state": _state(outcome),
            "seconds": round(outcome.seconds, 6),
            "error": None if outcome.fault is None else error_as_dict(outcome.fault),
        }

    def _target(self, outcome: Outcome) -> Target:
        request = self._request
        return Target(
            request.host, outcome.address, outcome.port, request.protocol, request.numeric
        )


def _state(outcome: Outcome) -> str:
    if outcome.answered:
        return "open"
    if outcome.fault is None:
        return "open_or_filtered"
    if type(outcome.fault) is NoAnswer:
        return "no_answer"
    if isinstance(outcome.fault, Refused):
        return "closed"
    return "unreachable" if isinstance(outcome.fault, NetworkError) else "not_attempted"
