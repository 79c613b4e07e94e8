"""Flows that many connections to one peer take from each other, and what holds for them still."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from netkat import Stack
from netkat.bpf.tcx import FIRST, TcxLink
from netkat.engine import rested
from netkat.engine.session import Session
from netkat.engine.sessions import Sessions
from netkat.errors import GuardFailed
from netkat.stack import Endpoint, Takeover
from tests.helpers.guard_lab import PASS, witness
from tests.helpers.netns import Pair

FEW = 2
"""At rest before one hands on: a slow machine lets go of 64 before the 65th comes."""


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rested, "ENOUGH", FEW)


def whole(conn: Any) -> bytes:
    """All until the peer's FIN."""
    return b"".join(iter(lambda: conn.recv(4096), b""))


@contextlib.contextmanager
def echo(pair: Pair) -> Iterator[int]:
    """Each client is given back what it sends, from its end on; the port."""
    server = pair.peer.call(lambda: socket.create_server((pair.peer.ipv4, 0), backlog=100))

    def serve() -> None:
        while True:
            try:
                client = server.accept()[0]
            except OSError:
                return  # shut down
            with client, contextlib.suppress(ConnectionError):
                client.sendall(whole(client))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        server.close()


def ask(stack: Stack, pair: Pair, port: int, words: bytes = b"hello") -> int:
    """One connection, ended by us first, so that it rests; its local port."""
    with stack.create_connection((pair.peer.ipv4, port), timeout=20) as conn:
        conn.sendall(words)
        conn.shutdown(socket.SHUT_WR)
        assert whole(conn) == words
        return int(conn.getsockname()[1])


def until_one_hands_on(stack: Stack, pair: Pair, port: int) -> None:
    """Connections rest a second: a machine that stood still begins anew."""
    seen: set[int] = set()
    while (mine := ask(stack, pair, port)) not in seen:
        seen.add(mine)
        assert len(seen) < 1000


def test_the_one_that_rested_longest_hands_on(pair: Pair) -> None:
    with echo(pair) as port, Stack(netns=pair.host.name) as stack:
        until_one_hands_on(stack, pair, port)
        for number in range(30):
            ask(stack, pair, port, b"%d " % number * 5000)


def test_another_peer_has_another_flow(pair: Pair) -> None:
    with echo(pair) as port, echo(pair) as other, Stack(netns=pair.host.name) as stack:
        until_one_hands_on(stack, pair, port)
        for _ in range(2 * FEW):
            ask(stack, pair, other)
            ask(stack, pair, port)


def test_a_port_of_ones_own_choice_is_reserved_anew(pair: Pair) -> None:
    with echo(pair) as port, Stack(netns=pair.host.name) as stack:
        until_one_hands_on(stack, pair, port)
        source, where = (pair.host.ipv4, 4444), (pair.peer.ipv4, port)
        with stack.create_connection(where, 20, source_address=source) as conn:
            assert conn.getsockname() == source


def test_what_is_handed_on_is_given_back_in_the_end(pair: Pair) -> None:
    with echo(pair) as port, Stack(netns=pair.host.name) as stack:
        until_one_hands_on(stack, pair, port)
        assert pair.host.run(["ss", "-Htln"]).stdout
    assert pair.host.run(["ss", "-Htan"]).stdout == ""


def test_who_is_late_to_let_go_of_the_old_one_takes_nothing_away(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Housekeeping may have looked at it just before, and finds it ended."""
    taken: list[Session] = []
    take, take_over = Sessions.take_one_that_may_rest, Endpoint.take_over

    def noting(sessions: Sessions, *which: Any) -> Any:
        found = take(sessions, *which)
        taken.extend([found[0]] if found is not None else [])
        return found

    def late(endpoint: Endpoint, terms: Takeover, *, free: bool = False) -> Any:
        found = take_over(endpoint, terms, free=free)
        taken[-1].uplink.drop(taken[-1])
        return found

    monkeypatch.setattr(Sessions, "take_one_that_may_rest", noting)
    monkeypatch.setattr(Endpoint, "take_over", late)
    with echo(pair) as port, Stack(netns=pair.host.name) as stack:
        until_one_hands_on(stack, pair, port)
        for _ in range(3 * FEW):
            ask(stack, pair, port)
        assert taken


def test_what_comes_while_nobody_waits_is_acknowledged(pair: Pair) -> None:
    """Connections that are opened and closed put the receiving thread at rest: not for long."""
    server = pair.peer.call(lambda: socket.create_server((pair.peer.ipv4, 0)))
    with server, Stack(netns=pair.host.name) as stack:
        for _ in range(10 * FEW):
            stack.create_connection(server.getsockname(), 20).close()
            server.accept()[0].close()
        conn = stack.create_connection(server.getsockname(), 20)
        with server.accept()[0] as theirs, conn:
            theirs.sendall(b"x" * 5000)
            eventually(lambda: not unacknowledged(theirs))
            conn.fileno()
            theirs.sendall(b"y")
            assert select.select([conn], [], [], 20)[0]


def test_each_end_is_told_though_the_program_does_nothing_more(pair: Pair) -> None:
    """The last words of several connections leave at once: those of the last ones do not stay."""
    server = pair.peer.call(lambda: socket.create_server((pair.peer.ipv4, 0), backlog=100))
    with server, Stack(netns=pair.host.name) as stack:
        server.settimeout(20)
        for number in range(1, 40):
            for _ in range(number):
                stack.create_connection(server.getsockname(), 20).close()
            for _ in range(number):
                client = server.accept()[0]
                with client:
                    client.settimeout(20)
                    assert client.recv(1) == b""


def unacknowledged(sock: socket.socket) -> int:
    """Segments (tcpi_unacked)."""
    return int(
        struct.unpack_from("=24xI", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 64))[0]
    )


def eventually(true: Callable[[], bool]) -> None:
    """In 20 s at most."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_the_guard_proves_itself_for_each(pair: Pair) -> None:
    """What it kept of the earlier connection proves nothing."""
    index = pair.host.call(lambda: socket.if_nametoindex("eth0"))
    with echo(pair) as port, witness(PASS, "theirs") as theirs, \
            Stack(netns=pair.host.name) as stack:  # fmt: skip
        until_one_hands_on(stack, pair, port)
        link = pair.host.call(lambda: TcxLink(theirs.program.fd, index, FIRST))
        try:
            with pytest.raises(GuardFailed):
                ask(stack, pair, port)
        finally:
            link.close()
