"""-e and -c on kernel connections: both ends of a stream, the environment, and who is killed."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from netkat.commands.exec_program import Program, serve
from netkat.commands.relay.relay_options import PLAIN, RelayOptions
from netkat.commands.report.connection_report import ConnectionReport
from netkat.commands.report.reporter import Reporter
from netkat.errors import CommandFailed, ConnectionReset, NetkatError, Undelivered
from netkat.flow import Protocol
from tests.helpers.kernel_conn import KernelConn, reset
from tests.helpers.peers import pattern

SOON = 10.0
"""Seconds in which anything here is over on the slowest machine."""


class Served:
    """A command for a connection, in a thread."""

    def __init__(self, conn: KernelConn, line: str, options: RelayOptions) -> None:
        self.said: list[str] = []
        self.error: Exception | None = None
        self.status: int | None = None
        self.cancel_read, self.cancel_write = os.pipe()
        command = Program(("/bin/sh", "-c", line), line)
        facts: Any = {"peer": ("192.0.2.7", 4711), "cancel_fd": self.cancel_read}
        facts |= {"options": options, "verbosity": 1}
        facts |= {
            "reporter": Reporter(options, self.said.append),
            "report": ConnectionReport("listen", str(conn.protocol)),
        }

        def run() -> None:
            try:
                self.status = serve(conn, command, **facts)  # type: ignore[arg-type]
            except NetkatError as error:
                self.error = error

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def end(self) -> int | None:
        self.thread.join(SOON)
        assert not self.thread.is_alive(), self.said
        return self.status


@contextmanager
def served(
    line: str, options: RelayOptions = PLAIN, protocol: Protocol = Protocol.TCP
) -> Iterator[tuple[Served, socket.socket]]:
    conn = KernelConn(protocol)
    conn.peer.settimeout(SOON)
    run = Served(conn, line, options)
    try:
        yield run, conn.peer
    finally:
        os.write(run.cancel_write, b"!")
        run.thread.join(SOON)
        conn.peer.close()
        os.close(run.cancel_read)
        os.close(run.cancel_write)


def everything(peer: socket.socket) -> bytes:
    return b"".join(iter(lambda: peer.recv(1 << 16), b""))


def gone(pid: int) -> bool:
    """Whether the process is gone, or will be within the time."""
    end = time.monotonic() + SOON
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


def test_the_peers_end_closes_the_commands_input_and_the_answer_comes() -> None:
    """What ncat loses: sort says nothing before its end of input."""
    with served("sort") as (run, peer):
        peer.sendall(b"pear\napple\n")
        peer.shutdown(socket.SHUT_WR)
        assert everything(peer) == b"apple\npear\n"
        assert run.end() == 0
        assert run.said == [
            "netkat: 11 bytes sent, 11 received",
            "netkat: sort exited with status 0",
        ]


def test_the_commands_end_of_output_is_a_fin_while_it_reads_on(tmp_path: Path) -> None:
    with served(f"echo hello; exec 1>&-; cat > {tmp_path}/got") as (run, peer):
        assert everything(peer) == b"hello\n"
        peer.sendall(b"after the FIN")
        peer.shutdown(socket.SHUT_WR)
        assert run.end() == 0
    assert (tmp_path / "got").read_bytes() == b"after the FIN"


def test_both_ways_at_once_by_hash() -> None:
    data = pattern(20_000_000)
    with served("cat") as (run, peer):

        def send() -> None:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)

        writer = threading.Thread(target=send, daemon=True)
        writer.start()
        assert hashlib.sha256(everything(peer)).digest() == hashlib.sha256(data).digest()
        writer.join()
        assert run.end() == 0


def test_a_command_that_reads_nothing_does_not_hold_the_peer_up() -> None:
    with served("exec 0<&-; echo ready; sleep 0.2; echo done") as (run, peer):
        peer.sendall(pattern(4_000_000))
        assert everything(peer) == b"ready\ndone\n"
        assert run.end() == 0


@pytest.mark.parametrize(
    ("line", "status", "word"),
    [("exit 7", 7, "7"), ("kill -KILL $$", 137, "137 (SIGKILL)"), ("true", 0, "0")],
)
def test_the_status_is_told(line: str, status: int, word: str) -> None:
    with served(line) as (run, peer):
        assert everything(peer) == b""
        assert run.end() == status
        assert run.said[-1] == f"netkat: {line} exited with status {word}"


def test_variables_as_ncat_has_them() -> None:
    names = "$NCAT_PROTO $NCAT_REMOTE_ADDR $NCAT_REMOTE_PORT $NCAT_LOCAL_ADDR $NCAT_LOCAL_PORT"
    with served(f"echo {names}") as (run, peer):
        host, port = peer.getpeername()
        assert everything(peer) == f"TCP 192.0.2.7 4711 {host} {port}\n".encode()
        assert run.end() == 0


@pytest.mark.parametrize("how", ["reset", "cancel", "idle"])
def test_nothing_of_the_command_is_left(how: str) -> None:
    """Not the shell, nor what it started, nor what ignores SIGTERM."""
    line = "trap '' TERM; sleep 1000 & echo $$ $!; wait; sleep 1000"
    options = RelayOptions(idle=0.3) if how == "idle" else PLAIN
    with served(line, options) as (run, peer):
        pids = [int(word) for word in peer.recv(100).split()]
        assert len(pids) == 2
        if how == "reset":
            reset(peer)
        elif how == "cancel":
            os.write(run.cancel_write, b"!")
        status = run.end()
        assert all(gone(pid) for pid in pids)
        if how == "reset":
            assert isinstance(run.error, ConnectionReset | Undelivered)
        elif how == "idle":
            assert status == 0
            assert run.said[-1].startswith("netkat: idle timeout after 0.3 s: ")


def test_it_inherits_three_descriptors() -> None:
    extra = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(extra, True)
    try:
        with served("cd /proc/self/fd; echo *") as (run, peer):
            # The one more is the folder that the shell reads.
            assert everything(peer).split()[:3] == [b"0", b"1", b"2"]
            assert run.end() == 0
        with served(f"test -e /proc/$$/fd/{extra} && echo inherited") as (run, peer):
            assert everything(peer) == b""
            run.end()
    finally:
        os.close(extra)


def test_datagrams() -> None:
    with served("while read line; do echo got $line; done", protocol=Protocol.UDP) as (run, peer):
        for word in (b"one", b"two"):
            peer.send(word + b"\n")
            assert peer.recv(100) == b"got " + word + b"\n"
        os.write(run.cancel_write, b"!")
        run.end()


def test_what_cannot_be_run() -> None:
    conn = KernelConn()
    missing = Program(("/nowhere/at/all",), "/nowhere/at/all")
    facts: Any = {"peer": ("192.0.2.7", 1), "cancel_fd": 0, "options": PLAIN, "verbosity": 0}
    facts |= {"reporter": Reporter(PLAIN, print), "report": ConnectionReport("listen", "tcp")}
    with pytest.raises(CommandFailed, match="cannot run /nowhere/at/all: No such file"):
        serve(conn, missing, **facts)  # type: ignore[arg-type]
    assert conn.ended == "aborted"
    conn.peer.close()
