"""The relay where it is not a plain stream: datagrams, idle time, delivery, failing descriptors."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from netkat.commands.relay import drain
from netkat.commands.relay.relay import Relay
from netkat.commands.relay.relay_options import RelayOptions
from netkat.commands.relay.stop_rules import StopReason
from netkat.errors import (
    ConnectionReset,
    LocalStreamFailed,
    NetworkError,
    Refused,
    Undelivered,
)
from netkat.flow import Protocol
from netkat.stack.facts import State
from tests.helpers.kernel_conn import KernelConn
from tests.helpers.relaying import Run, feed, fill, receive_all, relays

SOON = 1.0
"""Seconds within which "at once" must have happened on a busy machine."""


@pytest.fixture
def runs() -> Iterator[Callable[..., Run]]:
    with relays() as make:
        yield make


def test_a_full_disk_is_an_error_of_ours(runs: Callable[..., Run]) -> None:
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


def test_input_that_cannot_be_read_is_an_error_of_ours(runs: Callable[..., Run]) -> None:
    run = runs(stdin=os.open("/", os.O_RDONLY))
    with pytest.raises(LocalStreamFailed, match="Is a directory"):
        run.result(SOON)


@pytest.mark.parametrize("stuck", ["idle", "reading", "writing", "stdout blocked"])
def test_cancel_ends_it_in_every_state(runs: Callable[..., Run], stuck: str) -> None:
    run = runs(KernelConn(small_buffers=True))
    if stuck == "writing":
        threading.Thread(target=feed, args=(run.input, 8 << 20), daemon=True).start()
    if stuck == "stdout blocked":
        run.conn.peer.setblocking(False)
        fill(run.conn.peer)
    if stuck == "reading":
        run.conn.peer.sendall(b"some")
    time.sleep(0.3)
    began = time.monotonic()
    os.write(run.cancel_write, b"x")
    assert run.result(SOON) is StopReason.CANCELLED
    assert time.monotonic() - began < 5


def test_what_the_peer_never_takes_is_counted() -> None:
    conn = KernelConn(small_buffers=True)
    conn.settimeout(0.0)
    total = fill(conn)
    with pytest.raises(Undelivered) as caught:
        drain.AckWaiter(conn, cancel_fd=None).wait(0.5)
    assert 0 < caught.value.count <= total
    assert str(caught.value.count) in caught.value.message
    conn.abort()
    conn.peer.close()


@pytest.mark.parametrize("state", [State.CLOSED, State.ERROR])
def test_a_connection_that_is_over_delivers_nothing_more(
    monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    """CLOSED: what gVisor makes of a RST after the peer's FIN, and of an end in order."""
    conn = KernelConn()
    ended = conn.info()._replace(state=state, unacked=5, fin_acked=False)
    before = ended._replace(state=State.CLOSE_WAIT, unacked=9)
    looks = iter([before, before, ended, ended])
    monkeypatch.setattr(conn, "info", lambda: next(looks))
    with pytest.raises(Undelivered, match="5 bytes not acknowledged: the peer reset"):
        drain.AckWaiter(conn, cancel_fd=None).wait()
    # The last ACK came between the look at the count and that at the state.
    looks = iter([ended, ended._replace(unacked=0, fin_acked=True)])
    assert drain.AckWaiter(conn, cancel_fd=None).wait()
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
    assert drain.AckWaiter(conn, cancel_fd=None).wait(10)
    taker.join()
    assert len(taken) == total
    conn.abort()


def test_idle_time_ends_it_without_an_error(runs: Callable[..., Run]) -> None:
    run = runs(options=RelayOptions(idle=0.7))
    time.sleep(0.4)
    run.type(b"x")
    assert run.result(20) is StopReason.IDLE_TIMEOUT
    assert 1.0 < run.took() < 2.2


def test_a_slow_reader_is_not_idle(runs: Callable[..., Run]) -> None:
    run = runs(options=RelayOptions(idle=0.3))
    data = bytes(1 << 20)
    threading.Thread(target=run.conn.peer.sendall, args=(data,), daemon=True).start()
    time.sleep(1.5)
    assert run.thread.is_alive()


def test_udp_one_read_is_one_datagram_and_two_seconds_end_it(runs: Callable[..., Run]) -> None:
    run = runs(KernelConn(Protocol.UDP))
    for number in range(3):
        run.type(b"x" * (number + 1))
        run.conn.peer.settimeout(2)
        assert run.conn.peer.recv(100) == b"x" * (number + 1)
    run.end_input()
    time.sleep(1)
    run.conn.peer.send(b"answer")
    answered = time.monotonic()
    assert run.result(20) is StopReason.CLOSED
    assert 1.9 < time.monotonic() - answered < 15
    assert os.read(run.output, 100) == b"answer"


def test_udp_with_input_open_goes_on(runs: Callable[..., Run]) -> None:
    run = runs(KernelConn(Protocol.UDP))
    run.type(b"x")
    time.sleep(3)
    assert run.thread.is_alive()


def test_udp_an_empty_datagram_is_no_end(runs: Callable[..., Run]) -> None:
    run = runs(KernelConn(Protocol.UDP))
    run.conn.peer.send(b"")
    run.conn.peer.send(b"after")
    assert os.read(run.output, 100) == b"after"


def test_udp_refused_is_told(runs: Callable[..., Run]) -> None:
    run = runs(KernelConn(Protocol.UDP))
    run.conn.peer.close()
    run.type(b"anyone?")
    with pytest.raises(Refused):
        run.result(SOON)


def test_shared_descriptors_keep_their_flags(runs: Callable[..., Run]) -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    run = runs(stdin=read)
    time.sleep(0.2)
    os.write(write, b"through")
    assert run.conn.peer.recv(100) == b"through"
    assert not os.get_blocking(read)
    os.close(write)
    assert receive_all(run.conn.peer) == b""


def test_a_fault_that_is_told_once_is_the_one_that_is_named(runs: Callable[..., Run]) -> None:
    told = threading.Event()

    class ToldOnce(KernelConn):
        """As the stack: whoever asks first hears of the RST, the other that it is not connected."""

        def send(self, data: memoryview) -> int:
            told.set()
            raise ConnectionReset("Connection reset by peer [RST from 10.9.0.2]")

        def recv_into(self, buffer: memoryview, nbytes: int = 0) -> int:
            told.wait(20)
            error = NetworkError("not connected")
            error.errno = errno.ENOTCONN
            raise error

    run = runs(ToldOnce())
    run.type(b"x")
    with pytest.raises(Undelivered, match=r"reset by peer \[RST from 10.9.0.2\]; 1 bytes not ack"):
        run.result(SOON)


def test_a_surprise_in_a_thread_ends_it(runs: Callable[..., Run]) -> None:
    class Surprising(KernelConn):
        def recv_into(self, buffer: memoryview, nbytes: int = 0) -> int:
            raise TypeError("a bug")

    run = runs(Surprising())
    with pytest.raises(TypeError, match="a bug"):
        run.result(SOON)
