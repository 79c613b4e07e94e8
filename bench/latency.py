"""Ping-pong, connect + close and -z: netkat's API compared with kernel sockets."""

from __future__ import annotations

import contextlib
import socket
from functools import partial

from bench.children import CONNECT, PING_PONG, RECONNECT, ask
from bench.samples import Comparison, interleave
from bench.testbed import NETKAT, Extent, Pair, listening, run
from tests.helpers.netns import netns_pair

SCANNED = "20001-21000"
SCANNERS = {"netkat": NETKAT, "nc": ["nc.openbsd"]}


def measure(extent: Extent) -> list[Comparison]:
    """Measure p50, p99, connections per second, and seconds of a scan."""
    rounds, connects = (1500, 100) if extent.short else (10000, 4000)
    p50 = Comparison("64-byte ping-pong, p50", "us", False, {"kernel": (2.5, 1.7)})
    p99 = Comparison("64-byte ping-pong, p99", "us", False, {"kernel": (4.0, 3.0)})
    rate = Comparison("connect + close", "1/s", True, {"kernel": (0.3, 0.5)})
    scan = Comparison("-z, 1,000 closed ports, exec to exit", "s", False, limits=(3.0, 1.0))
    with netns_pair("nkb") as pair:
        # The kernel's sockets need a port for each connection, for a minute.
        pair.host.sysctl("net.ipv4.ip_local_port_range", "1024 65535")

        def ping(tool: str, port: int) -> None:
            middle, high = ask(pair.host, tool, PING_PONG, pair.peer.ipv4, port, rounds)
            p50.add(tool, middle)
            p99.add(tool, high)

        def reconnect(tool: str, port: int) -> None:
            rate.add(tool, ask(pair.host, tool, RECONNECT, pair.peer.ipv4, port, connects))

        with listening(pair.peer, echo) as port:
            interleave(extent.runs, {tool: partial(ping, tool, port) for tool in CONNECT})
        with listening(pair.peer, drop) as port:
            interleave(extent.runs, {tool: partial(reconnect, tool, port) for tool in CONNECT})
        interleave(extent.runs, {tool: partial(scanned, pair, tool, scan) for tool in SCANNERS})
    return [p50, p99, rate, scan]


def scanned(pair: Pair, tool: str, row: Comparison) -> None:
    """Run -z over closed ports. Errors: RuntimeError unless the exit status is 1."""
    spent = run(pair.host, [*SCANNERS[tool], "-z", pair.peer.ipv4, SCANNED])
    if spent.code != 1:
        raise RuntimeError(f"{tool} -z of closed ports ended with {spent.code}")
    row.add(tool, spent.wall)


def echo(conn: socket.socket) -> None:
    """Echo data."""
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := conn.recv(4096):
        conn.sendall(data)


def drop(conn: socket.socket) -> None:
    """Wait for EOF."""
    with contextlib.suppress(OSError):
        conn.recv(1)
