"""Programs of child processes: the same Python for netkat's API and kernel sockets.

Only where a connection comes from differs. Each child prints one line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from bench.testbed import Host, run, start

CONNECT = {
    "netkat": "from netkat import create_connection\n",
    "kernel": "from socket import create_connection\n",
}
SERVE = {
    "netkat": "from netkat import create_server\n",
    "kernel": "from socket import create_server\n",
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
print(json.dumps(count / (time.perf_counter() - begun)))
"""

SEND = """
import json, socket, sys, threading, time
peer, seconds, size = (sys.argv[1], int(sys.argv[2])), float(sys.argv[3]), int(sys.argv[4])
connections, busy = int(sys.argv[5]), int(sys.argv[6])
def compute():
    n = 0
    while True:
        n += 1
def send(conn):
    block = memoryview(bytes(size))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        conn.sendall(block)
    conn.shutdown(socket.SHUT_WR)
    conn.settimeout(60)
    while conn.recv(1):
        pass
conns = [create_connection(peer) for _ in range(connections)]
for conn in conns:
    if isinstance(conn, socket.socket) and busy < 0:
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
for _ in range(busy):
    threading.Thread(target=compute, daemon=True).start()
threads = [threading.Thread(target=send, args=(conn,)) for conn in conns]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(None), flush=True)
for conn in conns:
    conn.close()
import os; os._exit(0)
"""
"""Sends blocks of a size for some seconds over connections, beside busy loops (-1: cubic)."""

ACCEPT = """
import json, sys, threading, time
host, connections = sys.argv[1], int(sys.argv[2])
listener = create_server((host, 0))
print(json.dumps(listener.getsockname()[1]), flush=True)
counts, lock = [], threading.Lock()
def swallow(conn):
    buffer = memoryview(bytearray(1 << 20))
    begun = total = 0
    while count := conn.recv_into(buffer):
        begun = begun or time.monotonic()
        total += count
    with lock:
        counts.append((total, begun, time.monotonic()))
    conn.close()
threads = []
for _ in range(connections):
    conn, _ = listener.accept()
    threads.append(threading.Thread(target=swallow, args=(conn,)))
    threads[-1].start()
for thread in threads:
    thread.join()
took = max(end for _, _, end in counts) - min(begun for _, begun, _ in counts)
print(json.dumps([sum(total for total, _, _ in counts), took]), flush=True)
listener.close()
"""
"""Prints two lines: the port, and (bytes, seconds) over all connections."""

ECHOES = """
import json, socket, sys, time
peer, count, rounds = (sys.argv[1], int(sys.argv[2])), int(sys.argv[3]), int(sys.argv[4])
clock, message = time.perf_counter, b"x" * 64
create_connection(peer).close()
begun = clock()
conns = [create_connection(peer) for _ in range(count)]
opened = (clock() - begun) / count
for conn in conns:
    conn.settimeout(60)
    if isinstance(conn, socket.socket):
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
begun = clock()
for _ in range(rounds):
    for conn in conns:
        conn.sendall(message)
    for conn in conns:
        missing = 64
        while missing:
            missing -= len(conn.recv(missing))
print(json.dumps([opened * 1e6, rounds * count / (clock() - begun)]), flush=True)
import os; os._exit(0)
"""

HOLD = """
import json, sys
def resident():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
peer, count = (sys.argv[1], int(sys.argv[2])), int(sys.argv[3])
conns = [create_connection(peer) for _ in range(8)]
before = resident()
conns += [create_connection(peer) for _ in range(count)]
print(json.dumps((resident() - before) / count), flush=True)
import os; os._exit(0)
"""
"""Prints the KiB of one more idle connection."""


def ask(host: Host, tool: str, source: str, *arguments: object, **options: Any) -> Any:
    """Run a child and return what it printed. ``options`` are Popen's. Errors: RuntimeError."""
    argv = [sys.executable, "-c", CONNECT[tool] + source, *map(str, arguments)]
    spent = run(host, argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    if spent.code:
        raise RuntimeError(f"{tool} ended with {spent.code}: {spent.stderr[-300:]}")
    return json.loads(spent.output)


def begin(
    host: Host, prelude: str, source: str, *arguments: object, **options: Any
) -> subprocess.Popen[str]:
    """Start a child whose lines the caller reads. ``options`` are Popen's."""
    argv = [sys.executable, "-c", prelude + source, *map(str, arguments)]
    return start(host, argv, stdout=subprocess.PIPE, stderr=None, **options)
