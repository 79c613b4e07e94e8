"""What may be asked of a relay: linger, no FIN, one way alone, lines, CRLF, telnet."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from netkat.commands.relay.relay_options import FOR_EVER, RelayOptions
from netkat.commands.relay.stop_rules import StopReason
from netkat.flow import Protocol
from tests.helpers.kernel_conn import KernelConn
from tests.helpers.relaying import Run, feed, receive_all, relays

SOON = 5.0
"""Seconds within which what is due at once has happened, on any machine."""


@pytest.fixture
def runs() -> Iterator[Callable[..., Run]]:
    with relays() as make:
        yield make


def test_linger_ends_it_after_the_end_of_input(runs: Callable[..., Run]) -> None:
    run = runs(options=RelayOptions(linger=0.4))
    run.type(b"question")
    time.sleep(0.2)
    run.end_input()
    assert receive_all(run.conn.peer) == b"question"
    run.conn.peer.sendall(b"early")
    assert run.result(SOON) is StopReason.LINGER_TIMEOUT
    assert run.took() >= 0.6
    assert os.read(run.output, 100) == b"early"


def test_linger_ends_with_the_peer_where_that_is_earlier(runs: Callable[..., Run]) -> None:
    run = runs(options=RelayOptions(linger=60))
    run.end_input()
    assert receive_all(run.conn.peer) == b""
    run.conn.peer.close()
    assert run.result(SOON) is StopReason.CLOSED


def test_no_linger_at_all_delivers_everything(runs: Callable[..., Run]) -> None:
    run = runs(KernelConn(small_buffers=True), options=RelayOptions(linger=0.0))
    feeder = threading.Thread(target=lambda: (feed(run.input, 1 << 20), run.end_input()))  # type: ignore[func-returns-value,arg-type]
    feeder.start()
    time.sleep(0.3)
    assert receive_all(run.conn.peer) == bytes(1 << 20)
    assert run.result(SOON) is StopReason.LINGER_TIMEOUT
    feeder.join()


def test_without_shutdown_the_peer_hears_no_fin(runs: Callable[..., Run]) -> None:
    run = runs(options=RelayOptions(shutdown=False))
    run.type(b"question")
    run.end_input()
    assert run.conn.peer.recv(100) == b"question"
    run.conn.peer.settimeout(0.3)
    with pytest.raises(TimeoutError):
        run.conn.peer.recv(1)
    run.conn.peer.sendall(b"answer")
    run.conn.peer.shutdown(socket.SHUT_WR)
    assert run.result(SOON) is StopReason.CLOSED
    assert os.read(run.output, 100) == b"answer"
    assert not run.relay.peer_closed_after_fin


def test_send_only_waits_for_nobody_and_shows_nothing(runs: Callable[..., Run]) -> None:
    run = runs(options=RelayOptions(send_only=True))
    run.conn.peer.sendall(b"nobody wants this" * 100_000)
    run.type(b"all of it")
    run.end_input()
    assert receive_all(run.conn.peer) == b"all of it"
    assert run.result(SOON) is StopReason.LINGER_TIMEOUT
    os.set_blocking(run.output, False)
    with pytest.raises(BlockingIOError):
        os.read(run.output, 1)


def test_lines_go_out_one_by_one(runs: Callable[..., Run]) -> None:
    run = runs(options=RelayOptions(interval=0.3))
    run.type(b"one\ntwo\nthr")
    run.type(b"ee\n")
    run.end_input()
    assert receive_all(run.conn.peer) == b"one\ntwo\nthree\n"
    run.conn.peer.close()
    assert run.result(SOON) is StopReason.CLOSED
    assert run.took() > 0.9, "a pause after each line, and none within one"


def test_lines_of_datagrams_are_datagrams(runs: Callable[..., Run]) -> None:
    run = runs(KernelConn(Protocol.UDP), options=RelayOptions(interval=0.05, linger=0.0))
    run.type(b"one\ntwo\n")
    run.end_input()
    assert [run.conn.peer.recv(100) for _ in range(2)] == [b"one\n", b"two\n"]
    assert run.result(SOON) is StopReason.LINGER_TIMEOUT


def test_pacing_is_not_idle_and_can_be_cancelled(runs: Callable[..., Run]) -> None:
    run = runs(options=RelayOptions(interval=60, idle=0.3))
    run.type(b"one\ntwo\n")
    assert run.conn.peer.recv(100) == b"one\n"
    time.sleep(1)
    assert run.thread.is_alive()
    os.write(run.cancel_write, b"x")
    assert run.result(SOON) is StopReason.CANCELLED


def test_crlf_across_reads(runs: Callable[..., Run]) -> None:
    run = runs(options=RelayOptions(crlf=True))
    run.type(b"GET / HTTP/1.0\nHost: x\r")
    assert run.conn.peer.recv(100) == b"GET / HTTP/1.0\r\nHost: x\r"
    run.type(b"\n\n")
    run.end_input()
    assert receive_all(run.conn.peer) == b"\n\r\n"
    run.conn.peer.close()
    assert run.result(SOON) is StopReason.CLOSED
    assert run.relay.sent == len(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")


def test_telnet_answers_while_nobody_types(runs: Callable[..., Run]) -> None:
    run = runs(options=RelayOptions(telnet=True))
    run.conn.peer.sendall(b"\xff\xfd\x18\xff\xfb\x01login: ")
    assert run.conn.peer.recv(100) == b"\xff\xfc\x18\xff\xfe\x01"
    assert os.read(run.output, 100) == b"login: "
    run.type(b"m\xffe\n")
    assert run.conn.peer.recv(100) == b"m\xff\xffe\n"


def test_datagrams_linger_for_ever_on_demand(runs: Callable[..., Run]) -> None:
    run = runs(KernelConn(Protocol.UDP), options=RelayOptions(linger=FOR_EVER))
    run.end_input()
    time.sleep(2.5)
    assert run.thread.is_alive()
    run.conn.peer.send(b"late")
    assert os.read(run.output, 100) == b"late"
