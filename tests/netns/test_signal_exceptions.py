"""An exception of a signal handler reaches the caller unchanged, and the stack goes on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import netkat
from tests.helpers.netns import Pair
from tests.helpers.peers import peer


class Custom(Exception):
    pass


KINDS = [KeyboardInterrupt, Custom, TimeoutError, BlockingIOError, ConnectionResetError, OSError]


@contextmanager
def alarm(error: BaseException) -> Iterator[None]:
    """SIGALRM after 50 ms; its handler raises."""

    def handle(number: int, frame: object) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", KINDS)
def test_handler_exception_passes_through_waits(pair: Pair, kind: type[BaseException]) -> None:
    payload = bytes(1 << 20)
    done = threading.Event()
    rounds: list[int] = []
    with (
        peer(pair.peer, "tcp-echo") as echo,
        peer(pair.peer, "tcp-mute") as mute,
        netkat.Stack(netns=pair.host.name) as stack,
        stack.create_connection((pair.peer.ipv4, echo.port), 20) as waiting,
        stack.create_connection((pair.peer.ipv4, echo.port), 20) as other,
        stack.create_connection((pair.peer.ipv4, mute.port), 20) as stuck,
        stack.create_server((pair.host.ipv4, 7500)) as listener,
    ):

        def transfer() -> None:
            while not done.is_set():
                other.sendall(b"x")
                rounds.append(len(other.recv(1)))

        thread = threading.Thread(target=transfer)
        thread.start()
        try:
            waits: dict[str, Callable[[], object]] = {
                "recv": lambda: waiting.recv(1),
                "accept": listener.accept,
                "sendall": lambda: stuck.sendall(64 * payload),
                "connect": lambda: stack.create_connection(("10.99.0.77", 80), 20),
            }
            for name, wait in waits.items():
                error = kind()
                with pytest.raises(kind) as caught, alarm(error):
                    wait()
                assert caught.value is error, name
            before = len(rounds)
            waiting.sendall(b"y")
            assert waiting.recv(1) == b"y"
        finally:
            done.set()
            thread.join(20)
        assert not thread.is_alive()
        assert len(rounds) > before > 0
        stuck.abort()
