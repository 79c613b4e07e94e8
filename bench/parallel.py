"""Eight connections at once, opened and accepted, and one beside a busy loop."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from functools import partial

from bench import iperf3
from bench.bulk_receiver import sink
from bench.children import ACCEPT, SEND, SERVE, ask, begin
from bench.samples import Comparison, interleave
from bench.testbed import Extent, Pair, ended
from tests.helpers.netns import netns_pair

MANY = 8
BLOCK = 16 << 20


def measure(extent: Extent) -> list[Comparison]:
    """Measure the Gbit/s of all connections."""
    with netns_pair("nkb") as pair:
        return [sending(pair, extent), accepting(pair, extent), beside(pair, extent)]


def sending(pair: Pair, extent: Extent) -> Comparison:
    """Measure the API's connections, one thread each, compared with iperf3."""
    row = Comparison(
        f"{MANY} connections at once, sending", "Gbit/s", True, {"iperf3 -P 8": (0.6, 0.9)}
    )
    seconds = str(max(1, round(extent.seconds)))

    def by(tool: str, port: int) -> None:
        ask(pair.host, tool, SEND, pair.peer.ipv4, port, extent.seconds, BLOCK, MANY, 0)
        row.add(tool, end.rate(MANY))

    def by_iperf3() -> None:
        row.add("iperf3 -P 8", iperf3.tcp(pair, ["-P", str(MANY), "-t", seconds]))

    with sink(pair.peer) as end:
        measures = {tool: partial(by, tool, end.port) for tool in ("netkat", "kernel")}
        interleave(extent.runs, {**measures, "iperf3": by_iperf3})
    return row


def accepting(pair: Pair, extent: Extent) -> Comparison:
    """Measure the API's listener with kernel clients that send."""
    what = f"{MANY} connections at once, accepted and read"
    row = Comparison(what, "Gbit/s", True, {"iperf3 -P 8 -R": (0.6, 0.9)})
    seconds = str(max(1, round(extent.seconds)))

    def by(tool: str) -> None:
        server = begin(pair.host, SERVE[tool], ACCEPT, pair.host.ipv4, MANY)
        with ended(server) as child:
            row.add(tool, fed_by_peer(pair, child, extent.seconds))

    def by_iperf3() -> None:
        row.add("iperf3 -P 8 -R", iperf3.tcp(pair, ["-P", str(MANY), "-R", "-t", seconds]))

    measures = {tool: partial(by, tool) for tool in SERVE}
    interleave(extent.runs, {**measures, "iperf3": by_iperf3})
    return row


def fed_by_peer(pair: Pair, server: subprocess.Popen[str], seconds: float) -> float:
    """Return the Gbit/s that an ACCEPT child reads over all its connections."""
    assert server.stdout is not None
    port = json.loads(server.stdout.readline())
    threads = [
        threading.Thread(target=feed, args=(pair, port, seconds), daemon=True) for _ in range(MANY)
    ]
    for thread in threads:
        thread.start()
    total, took = json.loads(server.stdout.readline())
    for thread in threads:
        thread.join(20)
    return float(total * 8 / took / 1e9)


def feed(pair: Pair, port: int, seconds: float) -> None:
    """Send to the host for a while, from the peer's kernel."""
    address = (pair.host.ipv4, port)
    conn = pair.peer.call(lambda: socket.create_connection(address, timeout=20))
    block = memoryview(bytes(BLOCK))
    end = time.monotonic() + seconds
    with conn:
        while time.monotonic() < end:
            conn.sendall(block)


def beside(pair: Pair, extent: Extent) -> Comparison:
    """Measure one sending connection with a busy loop in another thread of the process."""
    row = Comparison(
        "send beside a busy loop in Python", "Gbit/s", True, {"netkat alone": (0.5, 0.8)}
    )

    def by(tool: str, name: str, port: int, busy: int) -> None:
        ask(pair.host, tool, SEND, pair.peer.ipv4, port, extent.seconds, BLOCK, 1, busy)
        row.add(name, end.rate())

    with sink(pair.peer) as end:
        interleave(
            extent.runs,
            {
                "netkat": partial(by, "netkat", "netkat", end.port, 1),
                "alone": partial(by, "netkat", "netkat alone", end.port, 0),
                "kernel": partial(by, "kernel", "kernel socket", end.port, 1),
                "kernel alone": partial(by, "kernel", "kernel socket alone", end.port, 0),
            },
        )
    return row
