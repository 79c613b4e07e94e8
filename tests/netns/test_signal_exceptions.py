"""An exception of a signal handler reaches the caller unchanged, and the stack goes on."""

from __future__ import annotations

import io
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import netkat
from netkat.host.resolve import resolve
from tests.helpers.certificates import NAME, Certificates
from tests.helpers.netns import Pair
from tests.helpers.peers import peer
from tests.helpers.waiting import wait_until


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


def check(kind: type[BaseException], name: str, wait: Callable[[], object]) -> None:
    error = kind()
    with pytest.raises(kind) as caught, alarm(error):
        wait()
    assert caught.value is error, name


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
                "sendfile": lambda: stuck.sendfile(io.BytesIO(64 * payload)),
                "connect": lambda: stack.create_connection(("10.99.0.77", 80), 20),
            }
            for name, wait in waits.items():
                check(kind, name, wait)
            before = len(rounds)
            waiting.sendall(b"y")
            assert waiting.recv(1) == b"y"
        finally:
            done.set()
            thread.join(20)
        assert not thread.is_alive()
        assert len(rounds) > before > 0
        stuck.abort()


@pytest.mark.parametrize("kind", KINDS)
def test_handler_exception_passes_through_datagram_waits(
    pair: Pair, kind: type[BaseException]
) -> None:
    with (
        peer(pair.peer, "udp-echo") as echo,
        netkat.Stack(netns=pair.host.name) as stack,
        stack.open_datagram((pair.peer.ipv4, echo.port)) as conn,
        stack.open_datagram(None, source_address=(pair.host.ipv4, 0)) as sock,
    ):
        conn.settimeout(20)
        sock.settimeout(20)
        check(kind, "recv", lambda: conn.recv(1))
        check(kind, "recvfrom", lambda: sock.recvfrom(1))
        conn.send(b"x")
        assert conn.recv(1) == b"x"
        sock.sendto(b"y", (pair.peer.ipv4, echo.port))
        assert sock.recv(1) == b"y"


@pytest.mark.parametrize("kind", KINDS)
def test_handler_exception_passes_through_resolver(
    monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    """A name server that does not answer: getaddrinfo waits in a thread of its own."""
    answered = threading.Event()

    def wait(*_: object) -> list[object]:
        answered.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    try:
        check(kind, "resolve", lambda: resolve("name.test", "80"))
    finally:
        answered.set()
        for thread in threading.enumerate():
            if thread.name == "resolve name.test":
                thread.join(20)


@contextmanager
def tls_server(pair: Pair, certificate: str) -> Iterator[subprocess.Popen[bytes]]:
    """``openssl s_server``, whose clients wait for what its standard input says."""
    argv = ["openssl", "s_server", "-quiet", "-accept", "7501", "-cert", certificate]
    child = pair.peer.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: bool(pair.peer.run(["ss", "-Hltn", "sport = :7501"]).stdout))
        yield child
    finally:
        child.kill()
        child.communicate()


@pytest.mark.parametrize("kind", KINDS)
def test_handler_exception_passes_through_tls(
    pair: Pair, tmp_path: Path, kind: type[BaseException]
) -> None:
    certificates = Certificates(tmp_path)
    context = ssl.create_default_context(cafile=certificates.issuer)
    with (
        peer(pair.peer, "tcp-mute") as mute,
        netkat.Stack(netns=pair.host.name) as stack,
        tls_server(pair, certificates.good) as server,
        stack.create_connection((pair.peer.ipv4, 7501), 20) as conn,
        conn.start_tls(context, server_hostname=NAME) as tls,
        stack.create_connection((pair.peer.ipv4, mute.port), 20) as silent,
    ):
        tls.settimeout(20)
        check(kind, "recv", lambda: tls.recv(1))
        server.send_signal(signal.SIGSTOP)  # its window closes
        try:
            check(kind, "sendall", lambda: tls.sendall(bytes(64 << 20)))
        finally:
            server.send_signal(signal.SIGCONT)
        tls.sendall(b"x")
        check(
            kind,
            "handshake",
            lambda: silent.start_tls(context, server_hostname=NAME, timeout=20),
        )
