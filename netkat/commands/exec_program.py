"""-e and -c: a command whose stdin and stdout are the connection.

Pipes, as in ncat, not the connection's own descriptor: each direction ends by itself.
The command's end of output sends FIN, the peer's FIN closes the command's input, and
the connection is over when the command has exited and its output has ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netkat.commands import inherited
from netkat.commands.relay.relay import Relay
from netkat.commands.relay.stdio import Output, StopEvent
from netkat.commands.relay.stop_rules import Decision, StopReason, StopRule
from netkat.errors import CommandFailed, LocalStreamFailed
from netkat.flow import Protocol
from netkat.resources import Closeable
from netkat.system_calls import is_local, system_error

if TYPE_CHECKING:
    from netkat.commands.relay.directions import Conn, ReceiveLoop, SendLoop
    from netkat.commands.relay.relay_options import RelayOptions
    from netkat.commands.report.connection_report import ConnectionReport
    from netkat.commands.report.reporter import Reporter
    from netkat.conn import AnyConnection
    from netkat.conn.socket_base import Address

GRACE = 0.5
"""Seconds that a command has between SIGTERM and SIGKILL."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run for a connection: its words, or one of /bin/sh's."""

    argv: tuple[str, ...]
    text: str
    """As it was written."""


def environment(protocol: Protocol, peer: Address, local: Address) -> dict[str, str]:
    """The caller's variables, and those that ncat has for its commands."""
    return {
        **inherited.environment(),
        "NCAT_REMOTE_ADDR": peer[0],
        "NCAT_REMOTE_PORT": str(peer[1]),
        "NCAT_LOCAL_ADDR": local[0],
        "NCAT_LOCAL_PORT": str(local[1]),
        "NCAT_PROTO": str(protocol).upper(),
    }


class ChildProcess(Closeable):
    """A running command in a session of its own. It owns our ends of the two pipes.

    It inherits stderr and nothing else: no descriptor, no capability (netkat has none
    any more, and no_new_privs).
    """

    def __init__(self, command: Program, variables: dict[str, str]) -> None:
        try:
            # Signals that Python ignores are restored; the shell of -c may leave the
            # group of a terminal's Ctrl-C: netkat ends the whole group.
            with inherited.inherited_mask():
                self._child = subprocess.Popen(
                    command.argv,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env=variables,
                    bufsize=0,
                    start_new_session=True,
                )
        except OSError as error:
            if is_local(error) and not isinstance(error, PermissionError):
                raise system_error(error, f"run {command.argv[0]} (fork, pipe)") from error
            raise CommandFailed(f"cannot run {command.argv[0]}: {error.strerror}") from None
        assert self._child.stdin is not None and self._child.stdout is not None
        self.stdin, self.stdout = self._child.stdin.fileno(), self._child.stdout.fileno()
        for descriptor in (self.stdin, self.stdout):
            # Our ends alone: a pipe's two ends are two open files.
            os.set_blocking(descriptor, False)
        self.exited = False
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._watcher: threading.Thread | None = None

    def watch(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` in a thread when the program has exited."""

        def wait() -> None:
            # Not reaped: its pid and group stay reserved until close().
            os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT)
            self.exited = True
            self._over.set()
            callback()

        self._watcher = threading.Thread(target=wait, name="netkat-command", daemon=True)
        self._watcher.start()

    def close_input(self) -> None:
        """It has all that there is to read."""
        assert self._child.stdin is not None
        with contextlib.suppress(OSError):
            self._child.stdin.close()

    def end(self) -> None:
        """Kill it, and all of its group, unless all is over. From any thread, more than once."""
        with self._lock:
            if self._child.returncode is not None:
                return
            self._signal(signal.SIGTERM)
            if not self.exited:
                self._over.wait(GRACE)
            self._signal(signal.SIGKILL)

    def status(self) -> int:
        """As the shell counts: its exit code, or 128 and the signal that ended it."""
        with self._lock:
            code = self._child.wait()
        return code if code >= 0 else 128 - code

    def join(self) -> None:
        """Wait for it, and for what watches it; for after end(), or after it has exited."""
        if self._watcher is not None:
            self._watcher.join()
        self.status()

    def close(self) -> None:
        """Close the pipes; no thread may use them."""
        self.join()
        self.close_input()
        assert self._child.stdout is not None
        self._child.stdout.close()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, number)


class _Input:
    """The program's stdin as the output of a relay. Data that it does not read is discarded."""

    def __init__(self, descriptor: int, stop: StopEvent) -> None:
        self._output, self._gone = Output(descriptor, stop), False

    def write(self, view: memoryview) -> None:
        """All of it."""
        try:
            if not self._gone:
                self._output.write(view)
        except BrokenPipeError:
            self._gone = True


class _Rule:
    """Over when the command has exited and its output has ended."""

    def __init__(
        self,
        process: ChildProcess,
        receiver: ReceiveLoop,
        sender: SendLoop | None,
        protocols: StopRule,
    ) -> None:
        self._process, self._receiver, self._sender = process, receiver, sender
        self._protocols = protocols

    def evaluate(self, now: float) -> Decision:
        """Return why the relay ends or when to check again. Errors: a direction's error."""
        look_again = self.check_errors(now)
        if look_again is not None:
            return look_again
        if self._receiver.ended:
            self._process.close_input()
        done = self._sender is None or self._sender.ended
        return StopReason.CLOSED if done and self._process.exited else None

    def check_errors(self, now: float) -> float | None:
        """As the protocol's own."""
        return self._protocols.check_errors(now)


class ProgramRelay(Closeable):
    """A connection and a command. run() once, then the caller closes the connection, then this."""

    def __init__(
        self,
        conn: Conn,
        command: Program,
        *,
        peer: Address,
        local: Address,
        cancel_fd: int,
        options: RelayOptions,
    ) -> None:
        self._done = False
        self._process = process = ChildProcess(command, environment(conn.protocol, peer, local))
        try:
            self._relay = Relay(
                conn,
                stdin=process.stdout,
                stdout=lambda stop: _Input(process.stdin, stop),
                cancel_fd=cancel_fd,
                options=options,
                version=6 if ":" in peer[0] else 4,
                until=lambda receiver, sender, rule: _Rule(process, receiver, sender, rule),
            )
        except BaseException:
            process.end()
            process.close()
            raise

    def run(self) -> StopReason:
        """Until it is over. Errors: as Relay.run."""
        self._process.watch(self._relay.wake)
        try:
            reason = self._relay.run()
        except LocalStreamFailed as error:
            raise CommandFailed(f"the pipe to the command failed: {error.message}") from error
        self._done = reason is StopReason.CLOSED
        return reason

    def end(self) -> None:
        """Kill the command; from any thread."""
        self._process.end()

    def close(self) -> None:
        """Wait for the command, which is killed unless run() ended in order."""
        if not self._done:
            self._process.end()
        # What watches it wakes the relay.
        self._process.join()
        self._relay.close()
        self._process.close()

    @property
    def relay(self) -> Relay:
        """What moves the bytes."""
        return self._relay

    def status(self) -> int:
        """The command's; for after close()."""
        return self._process.status()


def serve(
    conn: AnyConnection,
    command: Program,
    *,
    peer: Address,
    cancel_fd: int,
    options: RelayOptions,
    verbosity: int,
    reporter: Reporter,
    report: ConnectionReport,
    name: str = "",
    running: set[ProgramRelay] | None = None,
) -> int:
    """Run the command for a connection to its end, and close that; the command's status.

    0 where -w ended both. ``running`` holds it meanwhile, ``report`` takes what became of it.
    Errors: CommandFailed, and as Relay.run.
    """
    try:
        relay = ProgramRelay(
            reporter.dump.tee(conn, name),
            command,
            peer=peer,
            local=conn.getsockname(),
            cancel_fd=cancel_fd,
            options=options,
        )
    except BaseException:
        conn.abort()
        raise
    running = set() if running is None else running
    running.add(relay)
    reason: StopReason | None = None
    reporter.progress.begin(relay.relay, conn)
    try:
        reason = relay.run()
    finally:
        reporter.progress.end(relay.relay)
        report.set_transfer(relay.relay, reason)
        report.read_stats(conn)
        if reason in (None, StopReason.CANCELLED):
            conn.abort()
        else:
            conn.close()
        relay.close()
        running.discard(relay)
    status, say = relay.status(), reporter.say
    for line in report.summary_lines(verbosity):
        say(line)
    if reason is StopReason.IDLE_TIMEOUT:
        say(f"netkat: idle timeout after {options.idle:g} s: {command.text} terminated")
        return 0
    if status or verbosity:
        say(f"netkat: {command.text} exited with status {_describe_status(status)}")
    return status


def _describe_status(status: int) -> str:
    return str(status) if status <= 128 else f"{status} ({_signal_name(status - 128)})"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
