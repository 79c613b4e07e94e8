"""Thousands of short connections one after another, and what is left of them: nothing, counted."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from netkat import Stack
from netkat.bpf.own_flows import own_flows
from netkat.stack.ffi import live_handles
from tests.helpers.netns import ROOT, Host, Namespace, Pair, netns_pair

COUNTS = pytest.mark.parametrize(
    "count",
    [300, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])],
)
WARM = 20
"""Connections after which all is open that stays open."""
RUNTIME = 12
"""Threads and descriptors that Go's runtime may have come to need meanwhile."""
PORT = 7700
NETS = {"test_connections": 70, "test_clients": 71}
"""Addresses that no other test has: guards are asked for in the whole machine."""


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """In place of the one with the usual addresses."""
    with netns_pair("nk", net=NETS[request.function.__name__]) as ends:
        yield ends


def descriptors(pid: int | str) -> Counter[str]:
    """What a process holds, by kind."""
    found: Counter[str] = Counter()
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            kind = os.readlink(f"/proc/{pid}/fd/{entry}")
        except FileNotFoundError:
            continue  # the one that listed the folder
        found[kind if kind.startswith("anon_inode") else kind.split(":")[0]] += 1
    return found


def threads(pid: int | str) -> int:
    """Of a process. Go's runtime keeps those that it once needed, some for each processor."""
    return len(os.listdir(f"/proc/{pid}/task"))


def held_by_kernel(space: Namespace) -> list[str]:
    """Ports and tc filters of a namespace."""
    asked = [["ss", "-Htuna"], ["tc", "filter", "show", "dev", "eth0", "ingress"]]
    return [line for argv in asked for line in space.run(argv).stdout.splitlines()]


def flows_of(host: Host) -> int:
    """Flows in guards and filters that the host's address is in."""
    mine = host.ip_address(4).packed
    return sum(mine in key for key in host.call(own_flows))


def settled(state: Callable[[], object], wanted: object) -> None:
    """What takes a moment to go is waited for."""
    end = time.monotonic() + 20
    while (found := state()) != wanted:
        assert time.monotonic() < end, f"{found}, not {wanted}"
        time.sleep(0.05)


@contextmanager
def answering(pair: Pair) -> Iterator[int]:
    """A server on the peer that says back what it was sent, from its end; its port."""
    server = pair.peer.call(lambda: socket.create_server((pair.peer.ipv4, 0), backlog=100))

    def serve() -> None:
        while True:
            try:
                client = server.accept()[0]
            except OSError:
                return  # shut down
            with client:
                client.sendall(whole(client)[::-1])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        server.close()


def whole(conn: Any) -> bytes:
    """All until the peer's FIN."""
    return b"".join(iter(lambda: conn.recv(100), b""))


@COUNTS
def test_connections(pair: Pair, count: int) -> None:
    """From one stack."""

    def left() -> object:
        return live_handles() - 1, flows_of(pair.host), held_by_kernel(pair.host)

    def ask(numbers: range) -> None:
        for number in numbers:
            with stack.create_connection((pair.peer.ipv4, port), timeout=20) as conn:
                conn.sendall(b"%06d" % number)
                conn.shutdown(socket.SHUT_WR)
                assert whole(conn) == (b"%06d" % number)[::-1]
        settled(left, (0, 0, []))

    with answering(pair) as port, Stack(netns=pair.host.name) as stack:
        ask(range(WARM))
        before, running = descriptors("self"), threads("self")
        ask(range(count))
        settled(lambda: descriptors("self"), before)
        settled(lambda: threads("self") <= running + RUNTIME, True)
    assert flows_of(pair.host) == 0


@COUNTS
def test_clients(pair: Pair, count: int) -> None:
    """Of one listener. Its own end is the first to close, which is the one with TIME-WAIT."""
    words = ["-v", "-l", "-k", "--reply", "clientip", pair.host.ipv4, str(PORT)]
    argv = [sys.executable, "-m", "netkat", *words]
    listener = pair.host.popen(argv, cwd=ROOT, stderr=subprocess.PIPE)
    assert listener.stderr is not None
    while not listener.stderr.readline().startswith(b"Listening on "):
        assert listener.poll() is None
    reader = threading.Thread(target=listener.stderr.read)
    reader.start()

    def ask(times: int) -> None:
        where = (pair.host.ipv4, PORT)
        for _ in range(times):
            with pair.peer.call(lambda: socket.create_connection(where, 20)) as client:
                assert whole(client) == f"{pair.peer.ipv4}\n".encode()

    ask(WARM)
    before = descriptors(listener.pid).total() + RUNTIME
    running = threads(listener.pid) + RUNTIME
    flows, kernel = flows_of(pair.host), held_by_kernel(pair.host)
    ask(count)
    settled(lambda: descriptors(listener.pid).total() <= before, True)
    settled(lambda: threads(listener.pid) <= running, True)
    settled(lambda: (flows_of(pair.host), held_by_kernel(pair.host)), (flows, kernel))
    listener.send_signal(signal.SIGTERM)
    assert listener.wait(20) == 128 + signal.SIGTERM
    reader.join()
    assert (flows_of(pair.host), held_by_kernel(pair.host)) == (0, [])
