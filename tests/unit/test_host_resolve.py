"""Names to addresses: literals at once, everything else with an end to the waiting."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest

from netkat.errors import BadArgument, NameNotFound
from netkat.flow import Protocol
from netkat.host.resolve import resolve


@pytest.fixture
def no_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking the system is a failure."""

    def never(*_: object) -> None:
        raise AssertionError("the resolver was asked")

    monkeypatch.setattr(socket, "getaddrinfo", never)


@pytest.fixture
def silent_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A name server that does not answer until the test is over."""
    over = threading.Event()

    def silent(*_: object) -> list[object]:
        over.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    yield
    over.set()


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the resolver says, filled by the test; an exception is raised."""
    given: list[Any] = []

    def answer(*_: object) -> list[Any]:
        if isinstance(given[0], Exception):
            raise given[0]
        return given

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return given


@pytest.mark.usefixtures("no_resolver")
@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.1", IPv4Address("192.0.2.1")),
        ("2001:db8::1", IPv6Address("2001:db8::1")),
        ("fe80::1%eth0", IPv6Address("fe80::1%eth0")),
        ("::ffff:192.0.2.1", IPv4Address("192.0.2.1")),
    ],
)
@pytest.mark.parametrize("numeric", [False, True])
def test_literals_ask_nobody(host: str, address: object, numeric: bool) -> None:
    assert resolve(host, "80", numeric=numeric) == [(address, 80)]


def test_services_by_protocol() -> None:
    assert resolve("192.0.2.1", "http") == [(IPv4Address("192.0.2.1"), 80)]
    assert resolve("192.0.2.1", "domain", protocol=Protocol.UDP)[0][1] == 53


def test_order_is_kept_and_doubles_go(answers: list[Any]) -> None:
    for address in ("2001:db8::2", "192.0.2.1", "2001:db8::2", "192.0.2.0"):
        six = ":" in address
        sockaddr = (address, 80, 0, 0) if six else (address, 80)
        answers.append((0, 0, 0, "", sockaddr))
    found = [str(address) for address, _ in resolve("name", "80")]
    assert found == ["2001:db8::2", "192.0.2.1", "192.0.2.0"]


def test_zone_of_an_answer_is_kept(answers: list[Any]) -> None:
    index = socket.if_nametoindex("lo")
    answers.append((0, 0, 0, "", ("fe80::1", 80, 0, index)))
    assert resolve("name", "80") == [(ip_address("fe80::1%lo"), 80)]


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "^a.example: no such"),
        (
            socket.gaierror(socket.EAI_AGAIN, "Temporary failure"),
            "no reply from the DNS server .Temporary",
        ),
        (socket.gaierror(socket.EAI_SERVICE, "Servname"), "^nothing/udp: no such service"),
        (socket.gaierror(-5, "No address"), "^a.example: the name has no IPv6 address"),
        (UnicodeError("label empty or too long"), "^a.example: not a host name .label empty"),
        (OSError("out of descriptors"), "^a.example: out of descriptors"),
    ],
)
def test_failures_have_their_own_words(answers: list[Any], failure: Exception, words: str) -> None:
    answers.append(failure)
    with pytest.raises(NameNotFound, match=words):
        resolve("a.example", "nothing", version=6, protocol=Protocol.UDP)


@pytest.mark.usefixtures("no_resolver")
@pytest.mark.parametrize("port", ["0", "65536", "99999999999999999999"])
def test_ports_out_of_range(port: str) -> None:
    with pytest.raises(BadArgument, match=port):
        resolve("192.0.2.1", port)


@pytest.mark.usefixtures("no_resolver")
def test_numeric_refuses_names() -> None:
    with pytest.raises(NameNotFound, match="name: not an IP address"):
        resolve("name", "80", numeric=True)
    with pytest.raises(NameNotFound, match="http: not a port"):
        resolve("192.0.2.1", "http", numeric=True)


@pytest.mark.usefixtures("no_resolver")
def test_the_other_version() -> None:
    with pytest.raises(BadArgument, match="not an IPv6"):
        resolve("192.0.2.1", "80", version=6)
    with pytest.raises(BadArgument, match="empty"):
        resolve("", "80")


@pytest.mark.usefixtures("silent_resolver")
def test_deadline_ends_it() -> None:
    began = time.monotonic()
    with pytest.raises(NameNotFound, match="timed out"):
        resolve("name", "80", deadline=began + 0.1)
    assert 0.1 <= time.monotonic() - began < 5


@pytest.mark.usefixtures("silent_resolver")
def test_wakeup_ends_it_and_keeps_its_byte() -> None:
    reader, writer = os.pipe()
    threading.Timer(0.05, os.write, (writer, b"!")).start()
    began = time.monotonic()
    with pytest.raises(InterruptedError):
        resolve("name", "80", wakeup_fd=reader)
    assert time.monotonic() - began < 5
    assert os.read(reader, 1) == b"!"
    os.close(reader)
    os.close(writer)


@pytest.mark.usefixtures("silent_resolver")
def test_signal_handler_runs_while_waiting() -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            resolve("name", "80")
        assert time.monotonic() - began < 5
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_no_descriptor_stays_open(answers: list[Any]) -> None:
    answers.append((0, 0, 0, "", ("192.0.2.1", 80)))
    resolve("name", "80")
    before = os.listdir("/proc/self/fd")
    for _ in range(5):
        resolve("name", "80")
    for thread in threading.enumerate():
        if thread.name.startswith("resolve"):
            thread.join(1)
    assert os.listdir("/proc/self/fd") == before
