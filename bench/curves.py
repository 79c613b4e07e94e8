"""Rates by number of connections, size of a write, MTU and round-trip time."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator
from functools import partial

from bench.bulk_receiver import sink
from bench.children import ECHOES, SEND, ask
from bench.samples import Curve, interleave
from bench.testbed import Extent, Host, Pair
from tests.helpers.forwarder import impaired_pair
from tests.helpers.netns import netns_pair

TOOLS = {"netkat": "netkat", "kernel": "kernel socket"}
CONNECTIONS = (1, 10, 100, 300, 1000)
SIZES = (64, 512, 4 << 10, 32 << 10, 256 << 10, 1 << 20)
MTUS = (1280, 1500, 4000, 9000)
ROUND_TRIPS = (0.0, 5.0, 20.0, 50.0, 100.0)
"""Milliseconds."""
MESSAGES = 4000
BLOCK = 256 << 10


def measure(extent: Extent) -> list[Curve]:
    """Measure all four curves; the short form measures their two ends."""
    runs = 1 if extent.short else 3

    def some(points: tuple[float, ...]) -> tuple[float, ...]:
        return (points[0], points[-1]) if extent.short else points

    counts = (1, 100) if extent.short else CONNECTIONS
    with netns_pair("nkb") as pair:
        echoes = over_connections(pair, runs, counts)
        sizes = over_sizes(pair, runs, some(SIZES), extent.seconds / 2)
    frames = over_mtus(runs, some(MTUS), extent.seconds / 2)
    far = over_distance(runs, some(ROUND_TRIPS), 1.0 if extent.short else 3.0)
    return [*echoes, sizes, frames, far]


def over_connections(pair: Pair, runs: int, counts: tuple[int, ...]) -> list[Curve]:
    """Measure 64-byte echoes over many connections, and the time to open them."""
    opened = Curve("opening", "Time to open a connection, of many", "connections", "us")
    rate = Curve("echoes", "64-byte echoes a second, over all connections", "connections", "1/s")

    def by(tool: str, port: int, count: int) -> None:
        rounds = max(2, MESSAGES // count)
        each, echoes = ask(pair.host, tool, ECHOES, pair.peer.ipv4, port, count, rounds)
        opened.add(TOOLS[tool], count, each)
        rate.add(TOOLS[tool], count, echoes)

    with echoing(pair.peer) as port:
        for count in counts:
            interleave(runs, {tool: partial(by, tool, port, count) for tool in TOOLS})
    return [opened, rate]


def over_sizes(pair: Pair, runs: int, sizes: tuple[float, ...], seconds: float) -> Curve:
    """Measure one connection by the size of a write."""
    curve = Curve("block-size", "Send, by the size of a write", "bytes", "Gbit/s")
    for size in sizes:
        send(pair, curve, runs, size, seconds, int(size))
    return curve


def over_mtus(runs: int, mtus: tuple[float, ...], seconds: float) -> Curve:
    """Measure one connection without offloads by the MTU."""
    curve = Curve("mtu", "Send with offloads off, by the MTU", "bytes", "Gbit/s")
    for mtu in mtus:
        with netns_pair("nkb", mtu=int(mtu), offloads=False) as pair:
            send(pair, curve, runs, mtu, seconds, BLOCK)
    return curve


def over_distance(runs: int, round_trips: tuple[float, ...], seconds: float) -> Curve:
    """Measure one connection by the round-trip time, without loss."""
    curve = Curve("round-trip", "Send, by the round-trip time", "ms", "Gbit/s")
    for milliseconds in round_trips:
        with impaired_pair("nkb", delay=milliseconds / 2000) as pair:
            send(pair, curve, runs, milliseconds, seconds, BLOCK)
    return curve


def send(pair: Pair, curve: Curve, runs: int, x: float, seconds: float, size: int) -> None:
    """Measure one point of a curve."""

    def by(tool: str) -> None:
        ask(pair.host, tool, SEND, pair.peer.ipv4, end.port, seconds, size, 1, 0)
        curve.add(TOOLS[tool], x, end.rate())

    with sink(pair.peer) as end:
        interleave(runs, {tool: partial(by, tool) for tool in TOOLS})


@contextlib.contextmanager
def echoing(host: Host) -> Iterator[int]:
    """Run a kernel echo server for many connections. Yield its port."""
    listener = host.call(lambda: socket.create_server((host.ipv4, 0), backlog=2048))
    stop, stopped = socket.socketpair()
    with listener, stop, stopped:
        thread = threading.Thread(target=echo, args=(listener, stopped), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stop.send(b"x")
            thread.join(20)


def echo(listener: socket.socket, stopped: socket.socket) -> None:
    """Serve all connections in one thread."""
    with selectors.EpollSelector() as waiting:
        waiting.register(listener, selectors.EVENT_READ)
        waiting.register(stopped, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                ready = key.fileobj
                assert isinstance(ready, socket.socket)
                if ready is stopped:
                    for other in list(waiting.get_map().values()):
                        assert isinstance(other.fileobj, socket.socket)
                        if other.fileobj not in (listener, stopped):
                            other.fileobj.close()
                    return
                if ready is listener:
                    conn, _ = listener.accept()
                    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    waiting.register(conn, selectors.EVENT_READ)
                elif not _echoed(ready):
                    waiting.unregister(ready)
                    ready.close()


def _echoed(conn: socket.socket) -> bool:
    try:
        data = conn.recv(4096)
        conn.sendall(data)
    except OSError:
        return False
    return bool(data)
