"""Compare this tree with another revision, interleaved: `bench -- --against REVISION`.

Ratios to other tools differ between machines; ratios between two builds that run in turn on the
same machine do not, so these are what a change is judged by.
"""

from __future__ import annotations

import queue
import socket
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench.bulk_receiver import Count, pour, rate, sink
from bench.children import ACCEPT, HOLD, PING_PONG, RECONNECT, SEND, SERVE, ask, begin
from bench.latency import SCANNED, drop, echo
from bench.memory_use import rest, settled
from bench.parallel import BLOCK, MANY, fed_by_peer
from bench.revision import Build, builds
from bench.samples import Bound, Comparison, interleave
from bench.start_time import once
from bench.testbed import Extent, Pair, ended, listening, page_cache_file, run, start
from bench.udp_rate import Attempt, incoming, outgoing, search
from tests.helpers.netns import netns_pair

CONGESTION = ("bbr", "reno")
"""Congestion controls of the sending kernel in bulk receive."""

PYTHON_UDP: Bound = (0.5, 0.8)
"""Of Python on a kernel socket."""

Measure = Callable[[Pair, Extent, Sequence[Build]], list[Comparison]]


def measure(extent: Extent, revision: str, parts: Sequence[str]) -> list[Comparison]:
    """Return the rows of some parts: netkat is this tree, the other tool is the revision."""
    rows: list[Comparison] = []
    with builds(revision) as both, netns_pair("nkb") as pair:
        pair.host.sysctl("net.ipv4.ip_local_port_range", "1024 65535")
        for part in parts:
            rows += PARTS[part](pair, extent, both)
    return rows


def compared(
    what: str, unit: str, both: Sequence[Build], *, least: float = 0.0, most: float = 0.0
) -> Comparison:
    """Return an empty row whose ratio to the other build is at least, or at most, a bound."""
    bound = least or most
    return Comparison(what, unit, not most, {both[1].name: (bound, 1.0)} if bound else {})


def bulk_send(pair: Pair, extent: Extent, both: Sequence[Build]) -> list[Comparison]:
    """Measure the command sending a file from stdin."""
    row = compared("bulk send", "Gbit/s", both, least=0.95)

    def by(build: Build, file: Path, port: int) -> None:
        with file.open("rb") as stdin:
            argv = [*build.command, pair.peer.ipv4, str(port)]
            spent = run(pair.host, argv, stdin=stdin, **build.options)
        counts = end.take()
        if spent.code or counts[0].total != file.stat().st_size:
            raise RuntimeError(f"{build.name} sent {counts[0].total} bytes, exit {spent.code}")
        row.add(build.name, rate(counts))

    with page_cache_file(extent.megabytes << 20) as file, sink(pair.peer) as end:
        interleave(extent.runs, {one.name: partial(by, one, file, end.port) for one in both})
    return [row]


def bulk_receive(pair: Pair, extent: Extent, both: Sequence[Build]) -> list[Comparison]:
    """Measure the command receiving from a kernel sender with each congestion control."""
    return [_received(pair, extent, both, control) for control in CONGESTION]


def _received(pair: Pair, extent: Extent, both: Sequence[Build], control: str) -> Comparison:
    what = f"bulk receive, {control} sender"
    # reno has no bound: its rate depends on how soon ACKs return (docs/performance.md).
    row = compared(what, "Gbit/s", both, least=0.85 if control == "bbr" else 0.0)
    counts: queue.Queue[Count] = queue.Queue()

    def source(conn: socket.socket) -> None:
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, control.encode())
        counts.put(pour(conn, extent.megabytes << 20))

    def by(build: Build, port: int) -> None:
        argv = [*build.command, pair.peer.ipv4, str(port)]
        spent = run(pair.host, argv, **build.options)
        if spent.code:
            raise RuntimeError(f"{build.name} ended with {spent.code}")
        row.add(build.name, rate([counts.get(timeout=60)]))

    with listening(pair.peer, source) as port:
        interleave(extent.runs, {one.name: partial(by, one, port) for one in both})
    return row


def eight_connections(pair: Pair, extent: Extent, both: Sequence[Build]) -> list[Comparison]:
    """Measure eight connections at once, in each direction, by the Python API."""
    send = compared(f"{MANY} connections, sending", "Gbit/s", both, least=0.9)
    read = compared(f"{MANY} connections, accepted and read", "Gbit/s", both, least=0.9)

    def sending(build: Build, port: int) -> None:
        words = [pair.peer.ipv4, port, extent.seconds, BLOCK, MANY, 0]
        ask(pair.host, "netkat", SEND, *words, **build.options)
        send.add(build.name, end.rate(MANY))

    def accepting(build: Build) -> None:
        words = [pair.host.ipv4, MANY]
        server = begin(pair.host, SERVE["netkat"], ACCEPT, *words, **build.options)
        with ended(server) as child:
            read.add(build.name, fed_by_peer(pair, child, extent.seconds))

    with sink(pair.peer) as end:
        interleave(extent.runs, {one.name: partial(sending, one, end.port) for one in both})
    interleave(extent.runs, {one.name: partial(accepting, one) for one in both})
    return [send, read]


def round_trips(pair: Pair, extent: Extent, both: Sequence[Build]) -> list[Comparison]:
    """Measure 64-byte round trips, and connections opened and closed in turn."""
    p50 = compared("64-byte ping-pong, p50", "us", both, most=1.1)
    opened = compared("connect + close", "1/s", both)
    rounds, connects = (1500, 100) if extent.short else (10000, 4000)

    def ping(build: Build, port: int) -> None:
        words = [pair.peer.ipv4, port, rounds]
        p50.add(build.name, ask(pair.host, "netkat", PING_PONG, *words, **build.options)[0])

    def reconnect(build: Build, port: int) -> None:
        words = [pair.peer.ipv4, port, connects]
        opened.add(build.name, ask(pair.host, "netkat", RECONNECT, *words, **build.options))

    with listening(pair.peer, echo) as port:
        interleave(extent.runs, {one.name: partial(ping, one, port) for one in both})
    with listening(pair.peer, drop) as port:
        interleave(extent.runs, {one.name: partial(reconnect, one, port) for one in both})
    return [p50, opened]


def startup(pair: Pair, extent: Extent, both: Sequence[Build]) -> list[Comparison]:
    """Measure exec to the first SYN, and to the exit on a refused port."""
    syn = compared("exec to first SYN", "ms", both, most=1.0)
    refused = compared("exec to exit, refused port", "ms", both, most=1.0)

    def by(build: Build) -> None:
        argv = [*build.command, pair.peer.ipv4, "9"]
        first, whole = once(pair, argv, **build.options)
        syn.add(build.name, first * 1000)
        refused.add(build.name, whole * 1000)

    interleave(extent.runs * 4, {one.name: partial(by, one) for one in both})
    return [syn, refused]


def port_scan(pair: Pair, extent: Extent, both: Sequence[Build]) -> list[Comparison]:
    """Measure -z of 1,000 closed ports."""
    row = compared("-z, 1,000 closed ports, exec to exit", "s", both, most=1.1)

    def by(build: Build) -> None:
        argv = [*build.command, "-z", pair.peer.ipv4, SCANNED]
        spent = run(pair.host, argv, **build.options)
        if spent.code != 1:
            raise RuntimeError(f"{build.name} -z of closed ports ended with {spent.code}")
        row.add(build.name, spent.wall)

    interleave(extent.runs, {one.name: partial(by, one) for one in both})
    return [row]


def memory(pair: Pair, extent: Extent, both: Sequence[Build]) -> list[Comparison]:
    """Measure the memory of an idle command, and of one idle connection of many."""
    idle = compared("memory, idle", "MB", both, most=1.05)
    held = compared("memory of an idle connection", "KiB", both, most=1.05)
    count = 200 if extent.short else 1000

    def idling(build: Build, port: int) -> None:
        argv = [*build.command, pair.peer.ipv4, str(port)]
        child = start(pair.host, argv, stdin=subprocess.PIPE, **build.options)
        with ended(child):
            idle.add(build.name, settled(child.pid) / 1e3)

    def holding(build: Build, port: int) -> None:
        words = [pair.peer.ipv4, port, count]
        held.add(build.name, ask(pair.host, "netkat", HOLD, *words, **build.options))

    with listening(pair.peer, rest, at_once=True) as port:
        interleave(extent.runs, {one.name: partial(idling, one, port) for one in both})
        interleave(extent.runs, {one.name: partial(holding, one, port) for one in both})
    return [idle, held]


def datagrams(pair: Pair, extent: Extent, both: Sequence[Build]) -> list[Comparison]:
    """Measure UDP with 1,400 bytes from Python, compared with a kernel socket."""
    rows = []
    for what, way in (("sending", outgoing), ("receiving", incoming)):
        kernel = "Python on a kernel socket"
        row = Comparison(f"UDP, 1,400 bytes, {what}", "Gbit/s", True, {kernel: PYTHON_UDP})
        seconds = min(1.0, extent.seconds)
        attempts: dict[str, Attempt] = {
            one.name: partial(way, pair, "netkat", seconds, **one.options) for one in both
        }
        attempts[kernel] = partial(way, pair, "kernel", seconds)
        search(row, extent.runs, attempts, 0.001, 12)
        rows.append(row)
    return rows


PARTS: dict[str, Measure] = {
    part.__name__: part
    for part in (
        startup,
        port_scan,
        memory,
        round_trips,
        bulk_send,
        bulk_receive,
        eight_connections,
        datagrams,
    )
}
