"""UDP, 1,400 bytes: the highest rate at which less than a thousandth is lost, each way."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from functools import partial
from typing import Any

from bench import iperf3
from bench.children import begin
from bench.samples import Comparison, interleave
from bench.testbed import Extent, Pair, ended
from tests.helpers.netns import netns_pair

SIZE = 1400
LOSS = 0.001
STEP = 0.8
TRIES = 12
ROUGH = 0.05, 3
"""Share lost and tries of the short form, which only checks that it works."""
FIRST = 8.0
"""First rate to try, in Gbit/s."""

Attempt = Callable[[float], tuple[float, float]]
"""Function of a rate in Gbit/s: returns (Gbit/s that arrived, share lost)."""

MAKE = {
    "netkat": "from netkat import open_datagram as make\n",
    "kernel": """
import socket
def make(peer):
    conn = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    conn.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)  # SO_RCVBUFFORCE: as much as netkat's
    conn.connect(peer)
    return conn
""",
}
SOCKET = """
import json, socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)
sock.bind((sys.argv[1], 0))
print(json.dumps(sock.getsockname()[1]), flush=True)
sock.settimeout(20)
"""
"""The kernel's end; it prints its port."""

POUR = """
data, sent, clock = bytes(1400), 0, time.monotonic
each = 16 * 1400 * 8 / (rate * 1e9)
begun = due = clock()
while (now := clock()) < begun + seconds:
    if now < due:
        continue
    due += each
    for _ in range(16):
        conn.send(data)
    sent += 16
print(json.dumps(sent), flush=True)
"""
COUNT = """
buffer = bytearray(2048)
conn.settimeout(20)
conn.recv_into(buffer)
begun = last = time.monotonic()
count = 1
conn.settimeout(0.5)
try:
    while True:
        conn.recv_into(buffer)
        count += 1
        if not count % 64:
            last = time.monotonic()
except TimeoutError:
    pass
print(json.dumps([count, last - begun]), flush=True)
"""
SENDER = """
import json, sys, time
rate, seconds = float(sys.argv[3]), float(sys.argv[4])
conn = make((sys.argv[1], int(sys.argv[2])))
"""
RECEIVER = """
import json, sys, time
conn = make((sys.argv[1], int(sys.argv[2])))
conn.send(b"here")
"""
ANSWERING = (
    SOCKET
    + """
rate, seconds = float(sys.argv[2]), float(sys.argv[3])
_, peer = sock.recvfrom(16)
sock.connect(peer)
conn = sock
"""
)


def measure(extent: Extent) -> list[Comparison]:
    """Measure the Gbit/s that arrived."""
    bounds = {"iperf3 -u": (0.4, 0.8)}
    send = Comparison("UDP, 1,400 bytes, sending", "Gbit/s", True, bounds)
    receive = Comparison("UDP, 1,400 bytes, receiving", "Gbit/s", True, bounds)
    seconds = min(1.0, extent.seconds)
    with netns_pair("nkb") as pair:
        for row, way, reverse in ((send, outgoing, []), (receive, incoming, ["-R"])):
            attempts: dict[str, Attempt] = {
                "netkat": partial(way, pair, "netkat", seconds),
                "iperf3 -u": partial(by_iperf3, pair, seconds, reverse),
            }
            if not extent.short:
                attempts["Python on a kernel socket"] = partial(way, pair, "kernel", seconds)
            search(row, extent.runs, attempts, *(ROUGH if extent.short else (LOSS, TRIES)))
    return [send, receive]


def by_iperf3(pair: Pair, seconds: float, options: list[str], rate: float) -> tuple[float, float]:
    """Measure as iperf3.udp does."""
    return iperf3.udp(pair, rate, seconds, options)


def search(
    row: Comparison, runs: int, attempts: dict[str, Attempt], most_lost: float, tries: int
) -> None:
    """Search each tool's highest rate with almost no loss. A run starts from the last result."""
    rates = dict.fromkeys(attempts, FIRST)

    def highest(tool: str) -> None:
        rate, seen = rates[tool], []
        for _ in range(tries):
            arrived, lost = attempts[tool](rate)
            seen.append((lost, arrived))
            if lost < most_lost:
                break
            rate = STEP * min(rate, arrived / STEP)
        lost, arrived = min(seen)
        if lost >= most_lost:
            print(f"{row.what}: {tool} lost {lost:.2%} at the least, at {arrived:.3g} Gbit/s")
        row.add(tool, arrived)
        rates[tool] = min(FIRST, rate / STEP)

    interleave(runs, {tool: partial(highest, tool) for tool in attempts})


def outgoing(
    pair: Pair, tool: str, seconds: float, rate: float, **options: Any
) -> tuple[float, float]:
    """Send from the host with the tool; the kernel counts. ``options`` are Popen's."""
    with ended(begin(pair.peer, SOCKET, "conn = sock" + COUNT, pair.peer.ipv4)) as child:
        port = line(child)
        words = [pair.peer.ipv4, port, rate, seconds]
        with ended(begin(pair.host, MAKE[tool], SENDER + POUR, *words, **options)) as sender:
            sent = line(sender)
            return arrived(line(child), sent)


def incoming(
    pair: Pair, tool: str, seconds: float, rate: float, **options: Any
) -> tuple[float, float]:
    """Receive on the host with the tool, which sends the first datagram; the kernel replies."""
    with ended(begin(pair.peer, ANSWERING, POUR, pair.peer.ipv4, rate, seconds)) as child:
        port = line(child)
        words = [pair.peer.ipv4, port]
        with ended(begin(pair.host, MAKE[tool], RECEIVER + COUNT, *words, **options)) as receiver:
            sent = line(child)
            return arrived(line(receiver), sent)


def line(child: subprocess.Popen[str]) -> Any:
    """Return the next line of a child. Errors: RuntimeError if it has ended."""
    assert child.stdout is not None
    text = child.stdout.readline()
    if not text:
        raise RuntimeError(f"a child ended with {child.wait(20)} and printed nothing")
    return json.loads(text)


def arrived(counted: tuple[int, float], sent: int) -> tuple[float, float]:
    """Return (Gbit/s, share lost)."""
    count, took = counted
    return count * SIZE * 8 / took / 1e9, 1 - count / sent
