"""Serves the clients of a listener: one on the calling thread, or many at once."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from netkat.commands.listen.listen_request import ListenRequest
from netkat.commands.relay.drain import AckWaiter
from netkat.commands.relay.relay import Relay
from netkat.commands.relay.stop_rules import StopReason
from netkat.commands.report import status_lines
from netkat.commands.report.connection_report import ConnectionReport
from netkat.commands.signals import Signals
from netkat.errors import NetkatError, NetworkError, TimedOut
from netkat.resources import Closeable

if TYPE_CHECKING:
    from netkat.commands.exec_program import ProgramRelay
    from netkat.commands.report.reporter import Reporter
    from netkat.conn import AnyConnection, AnyStream, TcpConnection, UdpConnection
    from netkat.conn.socket_base import Address

Say = Callable[[str], None]

_LOOK_AGAIN = 0.05
"""Seconds between checks of programs that are being terminated."""


def log_received(address: Address, request: ListenRequest, say: Say) -> None:
    """Print the line of an accepted connection (-v)."""
    if request.verbosity:
        say(f"Connection received on {address[0]} {address[1]}")


def serve(
    conn: TcpConnection | UdpConnection,
    address: Address,
    request: ListenRequest,
    reporter: Reporter,
    signals: Signals,
) -> int:
    """One client until its end, on this thread. Errors: NetkatError, Interrupted."""
    log_received(address, request, reporter.say)
    client = Client(conn, address, request, reporter, signals.fd)
    try:
        code = client.run(stdin=0 if request.read_stdin else None)
    except NetkatError as error:
        if isinstance(error, NetworkError):
            error.message = _error_line(address, request, error)
        if reporter.emit(client.report, error):
            signals.check()
            return error.exit_code
        raise
    reporter.emit(client.report)
    signals.check()
    return code


class ClientPool(Closeable):
    """Many at once, a thread each. Their bytes go to the output as they come."""

    def __init__(self, request: ListenRequest, reporter: Reporter, cancel_fd: int) -> None:
        self._request, self._reporter, self._cancel_fd = request, reporter, cancel_fd
        self._threads: set[threading.Thread] = set()
        self._begun = 0
        self._commands: set[ProgramRelay] = set()

    def start(self, conn: TcpConnection, address: Address) -> int:
        """Serve one more; how many there have been."""
        log_received(address, self._request, self._reporter.say)
        self._threads = {thread for thread in self._threads if thread.is_alive()}
        # A daemon: a write that nobody takes must not keep netkat alive.
        thread = threading.Thread(
            target=self._serve, args=(conn, address), name="netkat-client", daemon=True
        )
        self._threads.add(thread)
        self._begun += 1
        thread.start()
        return self._begun

    def finish(self, signals: Signals) -> int:
        """Wait for all of them. Errors: Interrupted."""
        for thread in self._threads:
            thread.join()
        signals.check()
        return 0

    def close(self) -> None:
        """Terminate running programs: none may outlive netkat."""
        if self._request.command is None:
            return
        while alive := [thread for thread in self._threads if thread.is_alive()]:
            # Each is told by the signals' descriptor, and resets its client before it ends its
            # command. One whose command ends first takes that for an end in order.
            until = time.monotonic() + _LOOK_AGAIN
            for thread in alive:
                thread.join(max(0.0, until - time.monotonic()))
            for command in tuple(self._commands):
                command.end()

    def _serve(self, conn: TcpConnection, address: Address) -> None:
        reporter = self._reporter
        client = Client(conn, address, self._request, reporter, self._cancel_fd)
        try:
            client.run(stdin=None, commands=self._commands)
        except (NetkatError, OSError) as error:
            # Of one client alone: the others go on.
            if not reporter.emit(client.report, error):
                reporter.say(f"netkat: {_error_line(address, self._request, error)}")
        else:
            reporter.emit(client.report)


class Client:
    """One of them. ``report`` is filled in while run() runs."""

    def __init__(
        self,
        conn: TcpConnection | UdpConnection,
        address: Address,
        request: ListenRequest,
        reporter: Reporter,
        cancel_fd: int,
    ) -> None:
        self._conn: AnyConnection = conn
        self._address, self._request = address, request
        self._reporter, self._cancel_fd = reporter, cancel_fd
        self.report = ConnectionReport("listen", str(request.protocol))

    def run(self, *, stdin: int | None, commands: set[ProgramRelay] | None = None) -> int:
        """Until its end; the connection is closed then. Its exit code. Errors: NetkatError.

        ``commands`` holds the command of this client while it runs.
        """
        from netkat.conn import UdpConnection

        self._secure()
        request, conn = self._request, self._conn
        if isinstance(conn, UdpConnection):
            self.report.set_peer(self._address)
        else:
            self.report.set_connection(conn)
        if request.command is not None:
            from netkat.commands import exec_program

            return exec_program.serve(
                conn,
                request.command,
                peer=self._address,
                cancel_fd=self._cancel_fd,
                options=request.relay,
                verbosity=request.verbosity,
                reporter=self._reporter,
                report=self.report,
                name=self._name,
                running=commands,
            )
        if request.reply is not None and not isinstance(conn, UdpConnection):
            self._reply(conn, request.reply)
        else:
            self._relay(stdin)
        if request.verbosity and self.report.end_reason == StopReason.IDLE_TIMEOUT.value:
            self._reporter.say(status_lines.idle_line(request.relay.idle))
        if request.reply is not None:
            return 0  # a responder does not count bytes
        for line in self.report.summary_lines(request.verbosity):
            self._reporter.say(line)
        return 0

    def _secure(self) -> None:
        """TLS, where it is asked for; the handshake is this client's, others do not wait."""
        from netkat.conn import TcpConnection

        request, tls = self._request, self._request.tls
        if tls is None or not isinstance(self._conn, TcpConnection):
            return
        self._conn = secured = tls.wrap(
            self._conn, "", timeout=request.relay.idle, cancel_fd=self._cancel_fd
        )
        for line in tls.describe(secured) if request.verbosity else ():
            self._reporter.say(f"netkat: {line}")

    @property
    def _name(self) -> str:
        return f"{self._address[0]} {self._address[1]} " if self._request.keep_open else ""

    def _relay(self, stdin: int | None) -> None:
        conn, reporter = self._conn, self._reporter
        relay = Relay(
            reporter.dump.tee(conn, self._name),
            stdin=stdin,
            stdout=1,
            cancel_fd=self._cancel_fd,
            options=self._request.relay,
            version=6 if ":" in self._address[0] else 4,
        )
        reason = None
        reporter.progress.begin(relay, conn)
        try:
            reason = relay.run()
        finally:
            reporter.progress.end(relay)
            self.report.set_transfer(relay, reason)
            self.report.read_stats(conn)
            if reason in (StopReason.CLOSED, StopReason.IDLE_TIMEOUT, StopReason.LINGER_TIMEOUT):
                conn.close()
            else:
                conn.abort()
            relay.close()

    def _reply(self, conn: AnyStream, kind: str) -> None:
        from netkat.commands.listen.responders import respond

        over = threading.Event()
        watched = (conn, self._cancel_fd, over)
        threading.Thread(
            target=_abort_on_signal, args=watched, name="netkat-signal", daemon=True
        ).start()
        reason, idle = None, self._request.relay.idle
        waiter = AckWaiter(conn, cancel_fd=self._cancel_fd)
        try:
            conn.settimeout(idle)
            respond(conn, kind, (self._address[0], self._address[1]))
            waiter.wait()
            reason = StopReason.CLOSED
        except TimedOut:
            assert idle is not None
            waiter.wait(idle, needs_fin=False)
            reason = StopReason.IDLE_TIMEOUT
        finally:
            over.set()
            self.report.end_reason = None if reason is None else reason.value
            self.report.read_stats(conn)
            if reason is None:
                conn.abort()
            else:
                conn.close()


def _abort_on_signal(conn: AnyStream, cancel_fd: int, over: threading.Event) -> None:
    poller = select.poll()
    poller.register(cancel_fd, select.POLLIN)
    while not over.is_set():
        if poller.poll(200):
            conn.abort()
            return


def _error_line(address: Address, request: ListenRequest, error: Exception) -> str:
    message = error.message if isinstance(error, NetkatError) else str(error)
    return f"{address[0]} port {address[1]} ({request.protocol}): {message}"
