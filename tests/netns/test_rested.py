"""Flows that many connections to one peer take from each other, and what holds for them still."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from netkat import Stack
from netkat.bpf.tcx import FIRST, TcxLink
from netkat.engine import rested
from netkat.errors import GuardFailed
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
