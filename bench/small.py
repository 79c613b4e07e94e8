"""Small things: 64-byte ping-pong and connect + close, netkat's API beside the kernel's sockets.

Both sides of a comparison are the same Python loop in a child of its own; only
where the connection comes from differs.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from functools import partial

from bench.figures import Row, interleave
from bench.place import Pair, listening, run

CONNECT = {
    "netkat": "from netkat import create_connection",
    "kernel": "from socket import create_connection",
}

PING_PONG = """
import json, socket, statistics, sys, time
peer, count = (sys.argv[1], int(sys.argv[2])), int(sys.argv[3])
conn = create_connection(peer)
if isinstance(conn, socket.socket):
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
message, took, clock = b"x" * 64, [], time.perf_counter
for _ in range(count + 200):
    begun = clock()
    conn.sendall(message)
    missing = 64
    while missing:
        missing -= len(conn.recv(missing))
    took.append(clock() - begun)
conn.close()
cuts = statistics.quantiles(took[200:], n=100)
print(json.dumps([cuts[49] * 1e6, cuts[98] * 1e6]))
"""

RECONNECT = """
import json, sys, time
peer, count = (sys.argv[1], int(sys.argv[2])), int(sys.argv[3])
create_connection(peer).close()
begun = time.perf_counter()
for _ in range(count):
    create_connection(peer).close()
print(json.dumps([count / (time.perf_counter() - begun)]))
"""


def measure(pair: Pair, runs: int, rounds: int, connects: int) -> list[Row]:
    """p50, p99, connections a second."""
    p50 = Row("64-byte ping-pong, p50", "us", False, {"kernel": (2.5, 1.7)})
    p99 = Row("64-byte ping-pong, p99", "us", False, {"kernel": (4, 3)})
    rate = Row("connect + close", "1/s", True, {"kernel": (0.3, 0.5)})

    def ask(tool: str, source: str, port: int, count: int) -> list[float]:
        code = f"{CONNECT[tool]}\n{source}"
        argv = [sys.executable, "-c", code, pair.peer.ipv4, str(port), str(count)]
        spent = run(pair.host, argv, stdout=subprocess.PIPE, stderr=None)
        if spent.code:
            raise RuntimeError(f"{tool} ended with {spent.code}")
        answer: list[float] = json.loads(spent.output)
        return answer

    def ping(tool: str, port: int) -> None:
        middle, high = ask(tool, PING_PONG, port, rounds)
        p50.add(tool, middle)
        p99.add(tool, high)

    def reconnect(tool: str, port: int) -> None:
        rate.add(tool, ask(tool, RECONNECT, port, connects)[0])

    with listening(pair.peer, echo) as port:
        interleave(runs, {tool: partial(ping, tool, port) for tool in CONNECT})
    with listening(pair.peer, drop) as port:
        interleave(runs, {tool: partial(reconnect, tool, port) for tool in CONNECT})
    return [p50, p99, rate]


def echo(conn: socket.socket) -> None:
    """Give back what comes."""
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := conn.recv(4096):
        conn.sendall(data)


def drop(conn: socket.socket) -> None:
    """Wait for the end."""
    with contextlib.suppress(OSError):
        conn.recv(1)
