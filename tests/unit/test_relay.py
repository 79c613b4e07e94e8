"""The relay's ends: who may stop whom, and when. Real sockets and pipes, no netkat stack."""

from __future__ import annotations

import os
import pty
import socket
import threading
import time
import tty
from collections.abc import Iterator
from typing import Any

import pytest

from netkat.apps import delivery
from netkat.apps.relay import Ending, Relay
from netkat.errors import (
    ConnectionReset,
    LocalStreamFailed,
    NetkatError,
    Refused,
    Undelivered,
)
from netkat.flow import Protocol
from tests.helpers.kernel_conn import KernelConn, reset

SOON = 1.0
"""Seconds within which "at once" must have happened on a busy machine."""


class Run:
    """A relay in a thread, with a pipe on each side of it."""

    def __init__(self, conn: KernelConn, *, stdin: int | None = -1, **options: Any) -> None:
        self.conn = conn
        self.output, out_write = os.pipe()
        self.input: int | None = None
        if stdin == -1:
            stdin, self.input = os.pipe()
        self.cancel_read, self.cancel_write = os.pipe()
        self.relay = Relay(
            conn, stdin=stdin, stdout=out_write, cancel_fd=self.cancel_read, **options
        )
        self._to_close = {self.output, out_write, self.cancel_read, self.cancel_write}
        self._to_close |= {fd for fd in (stdin, self.input) if fd is not None}
        self.ending: Ending | None = None
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.began = time.monotonic()
        self.thread.start()

    def _run(self) -> None:
        try:
            self.ending = self.relay.run()
        except (NetkatError, OSError) as error:
            self.error = error

    def type(self, data: bytes) -> None:
        assert self.input is not None
        os.write(self.input, data)

    def end_input(self) -> None:
        assert self.input is not None
        self.close(self.input)

    def close(self, fd: int) -> None:
        os.close(fd)
        self._to_close.discard(fd)

    def result(self, timeout: float) -> Ending:
        self.thread.join(timeout)
        assert not self.thread.is_alive(), f"still relaying after {timeout} s"
        if self.error is not None:
            raise self.error
        assert self.ending is not None
        return self.ending

    def took(self) -> float:
        return time.monotonic() - self.began

    def clean(self) -> None:
        if self.thread.is_alive():
            os.write(self.cancel_write, b"x")
            self.thread.join(2)
        self.conn.abort()
        self.conn.peer.close()
        self.relay.close()
        for fd in self._to_close:
            os.close(fd)


@pytest.fixture
def runs() -> Iterator[Any]:
    made: list[Run] = []

    def make(conn: KernelConn | None = None, **options: Any) -> Run:
        run = Run(conn or KernelConn(), **options)
        made.append(run)
        return run

    yield make
    for run in made:
        run.clean()


def receive_all(sock: socket.socket) -> bytes:
    sock.settimeout(10)
    return b"".join(iter(lambda: sock.recv(1 << 20), b""))


def fill(sock: Any) -> int:
    """Send until nothing more is taken; how much was."""
    total = 0
    while True:
        try:
            total += sock.send(memoryview(bytes(65536)))
        except BlockingIOError:
            return total


def test_end_of_input_sends_fin_and_the_late_answer_is_read(runs: Any) -> None:
    run = runs()
    run.type(b"question\n")
    run.end_input()
    assert receive_all(run.conn.peer) == b"question\n"
    time.sleep(1)
    run.conn.peer.sendall(b"answer\n")
    run.conn.peer.close()
    assert run.result(SOON) is Ending.IN_ORDER
    assert os.read(run.output, 100) == b"answer\n"


def test_input_at_its_end_ends_with_the_peers_fin_at_once(runs: Any) -> None:
    run = runs(stdin=os.open(os.devnull, os.O_RDONLY))
    assert receive_all(run.conn.peer) == b""
    run.conn.peer.close()
    assert run.result(SOON) is Ending.IN_ORDER


def test_input_not_read_ends_with_the_peers_fin_at_once(runs: Any) -> None:
    run = runs(stdin=None)
    run.conn.peer.sendall(b"hello")
    time.sleep(0.2)
    assert run.thread.is_alive(), "no FIN of ours, no end of theirs: it must go on"
    run.conn.peer.close()
    assert run.result(SOON) is Ending.IN_ORDER
    assert os.read(run.output, 100) == b"hello"


def test_a_terminal_ends_with_the_peers_fin_at_once(runs: Any) -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    run = runs(stdin=slave)
    os.write(master, b"typed")
    assert run.conn.peer.recv(100) == b"typed"
    run.conn.peer.close()
    assert run.result(SOON) is Ending.IN_ORDER
    os.close(master)


def test_a_pipe_goes_on_sending_after_the_peers_fin(runs: Any) -> None:
    run = runs()
    run.conn.peer.shutdown(socket.SHUT_WR)
    sent = b""
    for number in range(5):
        time.sleep(0.5)
        line = f"line {number}\n".encode()
        run.type(line)
        sent += line
    run.end_input()
    assert receive_all(run.conn.peer) == sent
    assert run.result(SOON) is Ending.IN_ORDER


def test_a_quiet_pipe_ends_two_seconds_after_the_peers_fin(runs: Any) -> None:
    run = runs()
    time.sleep(0.5)
    run.conn.peer.close()
    assert run.result(4) is Ending.IN_ORDER
    assert 2.3 < run.took() < 3.5


def test_two_seconds_count_from_the_last_input(runs: Any) -> None:
    run = runs()
    run.conn.peer.shutdown(socket.SHUT_WR)
    time.sleep(1.5)
    run.type(b"late")
    assert run.result(4) is Ending.IN_ORDER
    assert 3.3 < run.took() < 4.5
    assert receive_all(run.conn.peer) == b"late"


def test_a_rst_after_the_peers_fin_says_what_was_lost(runs: Any) -> None:
    run = runs(KernelConn(small_buffers=True))
    run.conn.peer.shutdown(socket.SHUT_WR)
    feeder = threading.Thread(target=_feed, args=(run.input, 1 << 20), daemon=True)
    feeder.start()
    time.sleep(0.5)
    reset(run.conn.peer)
    with pytest.raises(Undelivered) as caught:
        run.result(SOON)
    assert caught.value.count > 0
    assert caught.value.exit_code == 1


def _feed(fd: int, count: int) -> None:
    try:
        for _ in range(count // 4096):
            os.write(fd, bytes(4096))
    except OSError:
        pass


def test_a_rst_on_an_idle_connection_ends_it(runs: Any) -> None:
    run = runs()
    time.sleep(0.2)
    reset(run.conn.peer)
    with pytest.raises(ConnectionReset):
        run.result(SOON)


def test_idle_pipes_keep_it_open(runs: Any) -> None:
    run = runs()
    time.sleep(3)
    assert run.thread.is_alive()
    run.type(b"still here")
    assert run.conn.peer.recv(100) == b"still here"


def test_a_slow_reader_loses_nothing_and_stops_nobody_else(runs: Any) -> None:
    run = runs()
    answer, question = os.urandom(8 << 20), os.urandom(4 << 20)
    talker = threading.Thread(target=run.conn.peer.sendall, args=(answer,), daemon=True)
    talker.start()
    asker = threading.Thread(target=_write_and_close, args=(run, question), daemon=True)
    asker.start()
    # Nobody reads stdout, and the other direction goes through whole.
    got = bytearray()
    while len(got) < len(question):
        got += run.conn.peer.recv(1 << 20)
    assert bytes(got) == question
    back = bytearray()
    while len(back) < len(answer):
        back += os.read(run.output, 65536)
    assert bytes(back) == answer
    talker.join(5)
    run.conn.peer.close()
    assert run.result(SOON) is Ending.IN_ORDER


def _write_and_close(run: Run, data: bytes) -> None:
    assert run.input is not None
    view = memoryview(data)
    while view:
        view = view[os.write(run.input, view) :]
    run.end_input()


def test_both_ways_at_once_from_both_sides(runs: Any) -> None:
    run = runs()
    data = os.urandom(16 << 20)
    echo = threading.Thread(target=_echo, args=(run.conn.peer,), daemon=True)
    echo.start()
    asker = threading.Thread(target=_write_and_close, args=(run, data), daemon=True)
    asker.start()
    back = bytearray()
    while len(back) < len(data):
        back += os.read(run.output, 1 << 20)
    assert bytes(back) == data
    assert run.result(SOON) is Ending.IN_ORDER
    assert (run.relay.sent, run.relay.received) == (len(data), len(data))


def _echo(sock: socket.socket) -> None:
    while data := sock.recv(65536):
        sock.sendall(data)
    sock.close()


def test_a_reader_that_has_gone_ends_it_in_order(runs: Any) -> None:
    run = runs()
    run.type(b"ours")
    run.close(run.output)
    assert run.conn.peer.recv(4) == b"ours"
    run.conn.peer.sendall(b"nobody reads this")
    assert run.result(SOON) is Ending.READER_GONE
    assert receive_all(run.conn.peer) == b"", "our FIN"


def test_a_full_disk_is_an_error_of_ours(runs: Any) -> None:
    conn = KernelConn()
    full = os.open("/dev/full", os.O_WRONLY)
    cancel, cancel_write = os.pipe()
    relay = Relay(conn, stdin=None, stdout=full, cancel_fd=cancel)
    conn.peer.sendall(b"data")
    with pytest.raises(LocalStreamFailed, match="No space left"):
        relay.run()
    for fd in (full, cancel, cancel_write):
        os.close(fd)
    conn.abort()
    conn.peer.close()


def test_input_that_cannot_be_read_is_an_error_of_ours(runs: Any) -> None:
    run = runs(stdin=os.open("/", os.O_RDONLY))
    with pytest.raises(LocalStreamFailed, match="Is a directory"):
        run.result(SOON)


@pytest.mark.parametrize("stuck", ["idle", "reading", "writing", "stdout blocked"])
def test_cancel_ends_it_in_every_state(runs: Any, stuck: str) -> None:
    run = runs(KernelConn(small_buffers=True))
    if stuck == "writing":
        threading.Thread(target=_feed, args=(run.input, 8 << 20), daemon=True).start()
    if stuck == "stdout blocked":
        run.conn.peer.setblocking(False)
        fill(run.conn.peer)
    if stuck == "reading":
        run.conn.peer.sendall(b"some")
    time.sleep(0.3)
    began = time.monotonic()
    os.write(run.cancel_write, b"x")
    assert run.result(SOON) is Ending.CANCELLED
    assert time.monotonic() - began < 0.5


def test_what_the_peer_never_takes_is_counted() -> None:
    conn = KernelConn(small_buffers=True)
    conn.settimeout(0.0)
    total = fill(conn)
    with pytest.raises(Undelivered) as caught:
        delivery.Delivery(conn, cancel_fd=None).wait(0.5)
    assert 0 < caught.value.count <= total
    assert str(caught.value.count) in caught.value.message
    conn.abort()
    conn.peer.close()


def test_delivery_waits_for_a_slow_peer() -> None:
    conn = KernelConn(small_buffers=True)
    conn.settimeout(0.0)
    total = fill(conn)
    taken = bytearray()

    def take() -> None:
        time.sleep(0.5)
        taken.extend(receive_all(conn.peer))
        conn.peer.close()

    taker = threading.Thread(target=take)
    taker.start()
    assert delivery.Delivery(conn, cancel_fd=None).wait(10)
    taker.join()
    assert len(taken) == total
    conn.abort()


def test_idle_time_ends_it_without_an_error(runs: Any) -> None:
    run = runs(idle=0.7)
    time.sleep(0.4)
    run.type(b"x")
    assert run.result(3) is Ending.IDLE
    assert 1.0 < run.took() < 2.2


def test_a_slow_reader_is_not_idle(runs: Any) -> None:
    run = runs(idle=0.3)
    data = bytes(1 << 20)
    threading.Thread(target=run.conn.peer.sendall, args=(data,), daemon=True).start()
    time.sleep(1.5)
    assert run.thread.is_alive()


def test_udp_one_read_is_one_datagram_and_two_seconds_end_it(runs: Any) -> None:
    run = runs(KernelConn(Protocol.UDP))
    for number in range(3):
        run.type(b"x" * (number + 1))
        run.conn.peer.settimeout(2)
        assert run.conn.peer.recv(100) == b"x" * (number + 1)
    run.end_input()
    time.sleep(1)
    run.conn.peer.send(b"answer")
    answered = time.monotonic()
    assert run.result(4) is Ending.IN_ORDER
    assert 1.9 < time.monotonic() - answered < 3
    assert os.read(run.output, 100) == b"answer"


def test_udp_with_input_open_goes_on(runs: Any) -> None:
    run = runs(KernelConn(Protocol.UDP))
    run.type(b"x")
    time.sleep(3)
    assert run.thread.is_alive()


def test_udp_an_empty_datagram_is_no_end(runs: Any) -> None:
    run = runs(KernelConn(Protocol.UDP))
    run.conn.peer.send(b"")
    run.conn.peer.send(b"after")
    assert os.read(run.output, 100) == b"after"


def test_udp_refused_is_told(runs: Any) -> None:
    run = runs(KernelConn(Protocol.UDP))
    run.conn.peer.close()
    run.type(b"anyone?")
    with pytest.raises(Refused):
        run.result(SOON)


def test_shared_descriptors_keep_their_flags(runs: Any) -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    run = runs(stdin=read)
    time.sleep(0.2)
    os.write(write, b"through")
    assert run.conn.peer.recv(100) == b"through"
    assert not os.get_blocking(read)
    os.close(write)
    assert receive_all(run.conn.peer) == b""
