"""``netkat listen``: reserve the port, drop privileges, listen, serve clients."""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeVar

from netkat.commands.listen.client_handler import ClientPool, log_received, serve
from netkat.commands.listen.listen_request import ListenRequest
from netkat.commands.relay.stdio import Output, StopEvent
from netkat.commands.report.connection_report import ConnectionReport
from netkat.commands.report.frame_taps import Tap
from netkat.commands.report.reporter import Reporter
from netkat.commands.signals import Signals
from netkat.commands.startup import start
from netkat.errors import NetkatError
from netkat.flow import Protocol

if TYPE_CHECKING:
    from netkat.conn import UdpListener
    from netkat.conn.socket_base import Address, SocketShaped
    from netkat.engine.bypass import Bypass
    from netkat.engine.claimed_ports import ClaimedPorts
    from netkat.flow import IPAddress

Say = Callable[[str], None]
_ANY_PORT = "9"
"""Port for the resolver, which needs one; only the addresses are used."""
_Listener = TypeVar("_Listener", bound="SocketShaped")


def listen(request: ListenRequest, say: Say) -> int:
    """Listen as requested; Lines for stderr go to the callback. Returns the exit code.

    Errors: NetkatError, Interrupted. All resources are released before it returns.
    """
    with Signals() as signals:
        reporter = Reporter(request.relay, say)
        try:
            with reporter, ExitStack() as undo:
                claimed = _prepare(request, reporter.say, signals, undo)
                if request.protocol is Protocol.UDP:
                    code = _datagrams(claimed, request, reporter, signals)
                else:
                    code = _clients(claimed, request, reporter, signals)
            reporter.dump.raise_error()
            return code
        except Exception as error:
            # A wait that a signal ended raises its own error: report the signal instead.
            signals.check()
            if isinstance(error, NetkatError) and reporter.emit(_report(request), error):
                return error.exit_code
            raise


def _report(request: ListenRequest) -> ConnectionReport:
    """Of the listener itself: a fault that is no client's."""
    return ConnectionReport("listen", str(request.protocol))


def _prepare(request: ListenRequest, say: Say, signals: Signals, undo: ExitStack) -> ClaimedPorts:
    """The port on every address; listening on it needs no privileges."""
    from netkat.engine.bypass import Bypass

    addresses = _addresses(request, signals)

    def make(tap: Tap | None) -> Bypass:
        return Bypass(request.path, socket_options=request.socket_options, tap=tap)

    def claim(core: Bypass) -> ClaimedPorts:
        return core.claim_ports(
            addresses, request.port, protocol=request.protocol, options=request.listen
        )

    _, claimed = start(make, claim, request, say, signals, undo)
    return claimed


def _addresses(request: ListenRequest, signals: Signals) -> list[IPAddress]:
    """What HOST stands for; none without one."""
    if request.host is None:
        return []
    from netkat.host.resolve import resolve

    found = resolve(
        request.host,
        _ANY_PORT,
        version=request.listen.version,
        protocol=request.protocol,
        numeric=request.numeric,
        wakeup_fd=signals.fd,
    )
    return [address for address, _ in found]


def _announce(claimed: ClaimedPorts, request: ListenRequest, say: Say) -> None:
    # Port 0: the selected port is not known otherwise.
    if request.verbosity or not request.port:
        for address, interface in claimed.places:
            say(f"Listening on {address} {claimed.port} ({interface})")


def _clients(
    claimed: ClaimedPorts, request: ListenRequest, reporter: Reporter, signals: Signals
) -> int:
    from netkat.conn import TcpListener

    listeners = [TcpListener(session) for session in claimed.listen()]
    _announce(claimed, request, reporter.say)
    output = 1 if request.writes_output and request.keep_open else None
    with ClientPool(request, reporter, signals.fd) as clients:
        while True:
            listener = _next(listeners, signals, output=output)
            if listener is None:
                return 0
            conn, address = listener.accept()
            if not _admitted(address, request, reporter.say):
                conn.abort()
                continue
            if not request.keep_open:
                for listener in listeners:
                    listener.close()
                return serve(conn, address, request, reporter, signals)
            if clients.start(conn, address) == request.most:
                for listener in listeners:
                    listener.close()
                return clients.finish(signals)


def _datagrams(
    claimed: ClaimedPorts, request: ListenRequest, reporter: Reporter, signals: Signals
) -> int:
    from netkat.conn import UdpListener

    listeners = [UdpListener(session) for session in claimed.receive()]
    _announce(claimed, request, reporter.say)
    if request.keep_open or request.reply is not None:
        return _every_datagram(listeners, request, reporter, signals)
    while True:
        listener = _next(listeners, signals)
        assert listener is not None
        data, address = listener.recvfrom()
        if _admitted(address, request, reporter.say):
            conn = listener.lock(data, address)
            return serve(conn, address, request, reporter, signals)


def _every_datagram(
    listeners: Sequence[UdpListener], request: ListenRequest, reporter: Reporter, signals: Signals
) -> int:
    """Each datagram to the output, or answered; without -k the first client's alone."""
    from netkat.commands.listen.responders import respond_datagram

    say, output = reporter.say, Output(1, StopEvent())
    seen: dict[Address, Callable[[memoryview], None]] = {}
    left = request.relay.receive_limit
    while left != 0:
        listener = _next(listeners, signals, output=1 if request.writes_output else None)
        if listener is None:
            return 0
        data, address = listener.recvfrom()
        if address not in seen:
            if seen and not request.keep_open:
                continue
            if not _admitted(address, request, say):
                continue
            seen[address] = reporter.dump.writer_for(f"{address[0]} {address[1]} ")
            log_received(address, request, say)
        seen[address](memoryview(data))
        left = None if left is None else left - 1
        if request.reply is not None:
            listener.sendto(
                respond_datagram(request.reply, data, (address[0], address[1])), address
            )
            continue
        try:
            output.write(memoryview(data))
        except BrokenPipeError:
            return 0
    return 0


def _next(
    listeners: Sequence[_Listener], signals: Signals, *, output: int | None = None
) -> _Listener | None:
    """Return the next listener with a client, or None if no process reads the pipe ``output``.

    Errors: Interrupted, InterfaceDown and others.
    """
    poller = select.poll()
    poller.register(signals.fd, select.POLLIN)
    waiting = {listener.fileno(): listener for listener in listeners}
    for descriptor in (*waiting, *(listener.fault_fileno() for listener in listeners)):
        poller.register(descriptor, select.POLLIN)
    if output is not None:
        poller.register(output, 0)  # POLLERR: a pipe without a reader
    while True:
        ready = poller.poll()
        signals.check()
        for listener in listeners:
            listener.raise_fault()
        for descriptor, events in ready:
            if descriptor in waiting:
                return waiting[descriptor]
            if descriptor == output and events & select.POLLERR:
                return None


def _admitted(address: Address, request: ListenRequest, say: Say) -> bool:
    if request.admits(ip_address(address[0])):
        return True
    if request.verbosity:
        say(f"netkat: connection from {address[0]} {address[1]} denied (--allow/--deny)")
    return False
