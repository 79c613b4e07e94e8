"""The relay's ends: who may stop whom, and when. Real sockets and pipes, no netkat stack."""

from __future__ import annotations

import os
import pty
import socket
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netkat.commands.relay.stop_rules import StopReason
from netkat.errors import ConnectionReset, Undelivered
from tests.helpers.kernel_conn import KernelConn, reset
from tests.helpers.relaying import Run, echo, feed, receive_all, relays, write_and_close

SOON = 1.0
"""Seconds within which "at once" must have happened on a busy machine."""


@pytest.fixture
def runs() -> Iterator[Callable[..., Run]]:
    with relays() as make:
        yield make


def test_end_of_input_sends_fin_and_the_late_answer_is_read(runs: Callable[..., Run]) -> None:
    run = runs()
    run.type(b"question\n")
    run.end_input()
    assert receive_all(run.conn.peer) == b"question\n"
    time.sleep(1)
    run.conn.peer.sendall(b"answer\n")
    run.conn.peer.close()
    assert run.result(SOON) is StopReason.CLOSED
    assert os.read(run.output, 100) == b"answer\n"


def test_empty_input_sends_fin_and_ends_with_the_peers_fin(
    runs: Callable[..., Run], tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    run = runs(stdin=os.open(empty, os.O_RDONLY))
    assert receive_all(run.conn.peer) == b""
    run.conn.peer.close()
    assert run.result(SOON) is StopReason.CLOSED


def test_null_device_sends_no_fin_and_ends_with_the_peers_fin(runs: Callable[..., Run]) -> None:
    run = runs(stdin=os.open(os.devnull, os.O_RDONLY))
    run.conn.peer.settimeout(0.3)
    with pytest.raises(TimeoutError):
        run.conn.peer.recv(1)
    run.conn.peer.close()
    assert run.result(SOON) is StopReason.CLOSED


def test_input_not_read_ends_with_the_peers_fin_at_once(runs: Callable[..., Run]) -> None:
    run = runs(stdin=None)
    run.conn.peer.sendall(b"hello")
    time.sleep(0.2)
    assert run.thread.is_alive(), "no FIN of ours, no end of theirs: it must go on"
    run.conn.peer.close()
    assert run.result(SOON) is StopReason.CLOSED
    assert os.read(run.output, 100) == b"hello"


def test_a_terminal_ends_with_the_peers_fin_at_once(runs: Callable[..., Run]) -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    run = runs(stdin=slave)
    os.write(master, b"typed")
    assert run.conn.peer.recv(100) == b"typed"
    run.conn.peer.close()
    assert run.result(SOON) is StopReason.CLOSED
    os.close(master)


def test_a_pipe_goes_on_sending_after_the_peers_fin(runs: Callable[..., Run]) -> None:
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
    assert run.result(SOON) is StopReason.CLOSED


def test_a_quiet_pipe_ends_two_seconds_after_the_peers_fin(runs: Callable[..., Run]) -> None:
    run = runs()
    time.sleep(0.5)
    run.conn.peer.close()
    assert run.result(20) is StopReason.CLOSED
    assert 2.3 < run.took() < 3.5


def test_two_seconds_count_from_the_last_input(runs: Callable[..., Run]) -> None:
    run = runs()
    run.conn.peer.shutdown(socket.SHUT_WR)
    time.sleep(1.5)
    run.type(b"late")
    assert run.result(20) is StopReason.CLOSED
    assert 3.3 < run.took() < 4.5
    assert receive_all(run.conn.peer) == b"late"


def test_a_rst_after_the_peers_fin_says_what_was_lost(runs: Callable[..., Run]) -> None:
    run = runs(KernelConn(small_buffers=True))
    run.conn.peer.shutdown(socket.SHUT_WR)
    feeder = threading.Thread(target=feed, args=(run.input, 1 << 20), daemon=True)
    feeder.start()
    time.sleep(0.5)
    reset(run.conn.peer)
    with pytest.raises(Undelivered) as caught:
        run.result(SOON)
    assert caught.value.count > 0
    assert caught.value.exit_code == 1


def test_a_rst_on_an_idle_connection_ends_it(runs: Callable[..., Run]) -> None:
    run = runs()
    time.sleep(0.2)
    reset(run.conn.peer)
    with pytest.raises(ConnectionReset):
        run.result(SOON)


def test_idle_pipes_keep_it_open(runs: Callable[..., Run]) -> None:
    run = runs()
    time.sleep(3)
    assert run.thread.is_alive()
    run.type(b"still here")
    assert run.conn.peer.recv(100) == b"still here"


def test_a_slow_reader_loses_nothing_and_stops_nobody_else(runs: Callable[..., Run]) -> None:
    run = runs()
    answer, question = os.urandom(8 << 20), os.urandom(4 << 20)
    talker = threading.Thread(target=run.conn.peer.sendall, args=(answer,), daemon=True)
    talker.start()
    asker = threading.Thread(target=write_and_close, args=(run, question), daemon=True)
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
    assert run.result(SOON) is StopReason.CLOSED


def test_both_ways_at_once_from_both_sides(runs: Callable[..., Run]) -> None:
    run = runs()
    data = os.urandom(16 << 20)
    echoing = threading.Thread(target=echo, args=(run.conn.peer,), daemon=True)
    echoing.start()
    asker = threading.Thread(target=write_and_close, args=(run, data), daemon=True)
    asker.start()
    back = bytearray()
    while len(back) < len(data):
        back += os.read(run.output, 1 << 20)
    assert bytes(back) == data
    assert run.result(SOON) is StopReason.CLOSED
    assert (run.relay.sent, run.relay.received) == (len(data), len(data))


def test_a_reader_that_has_gone_ends_it_in_order(runs: Callable[..., Run]) -> None:
    run = runs()
    run.type(b"ours")
    run.close(run.output)
    assert run.conn.peer.recv(4) == b"ours"
    run.conn.peer.sendall(b"nobody reads this")
    assert run.result(SOON) is StopReason.OUTPUT_CLOSED
    assert receive_all(run.conn.peer) == b"", "our FIN"
