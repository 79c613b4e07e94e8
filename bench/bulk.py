"""Bulk: a file to a kernel receiver, a kernel sender to /dev/null; Gbit/s, and CPU seconds a GB.

Rates are taken at the kernel end, from the first byte to the last, so that the
time a tool takes to start is not in them. iperf3 measures itself.
"""

from __future__ import annotations

import queue
import socket
from functools import partial
from pathlib import Path

from bench import iperf3
from bench.bulk_receiver import BulkReceiver, Count, pour, rate, sink
from bench.samples import Comparison, interleave
from bench.testbed import NETKAT, Extent, Pair, listening, page_cache_file, run
from tests.helpers.netns import netns_pair


def measure(extent: Extent) -> list[Comparison]:
    """Measure sending, receiving and CPU time."""
    with netns_pair("nkb") as pair, page_cache_file(extent.megabytes << 20) as file:
        return [*sending(pair, extent.runs, file), receiving(pair, extent.runs, file)]


def sending(pair: Pair, runs: int, file: Path) -> list[Comparison]:
    """Measure each tool sending the same file, and its CPU time."""
    size = file.stat().st_size
    bounds = {"iperf3 -F": (0.7, 1.0), "socat": (1.2, 1.5), "nc": (2.5, 3.0), "ncat": (5.0, 7.0)}
    send = Comparison("bulk send", "Gbit/s", True, bounds)
    cpu = Comparison("CPU of the sender", "s/GB", False, {"socat": (1.5, 1.0)})

    def by(tool: str, end: BulkReceiver) -> None:
        with file.open("rb") as stdin:
            spent = run(pair.host, command(tool, pair.peer.ipv4, end.port), stdin=stdin)
        counts = end.take()
        if counts[0].total != size or spent.code:
            words = f"{tool} sent {counts[0].total} of {size} bytes, exit code {spent.code}"
            raise RuntimeError(words)
        send.add(tool, rate(counts))
        cpu.add(tool, spent.cpu / size * 1e9)

    def by_iperf3() -> None:
        send.add("iperf3 -F", iperf3.tcp(pair, ["-n", str(size), "-F", str(file)]))

    with sink(pair.peer) as end:
        measures = {tool: partial(by, tool, end) for tool in ("netkat", "socat", "nc", "ncat")}
        interleave(runs, {**measures, "iperf3": by_iperf3})
    return [send, cpu]


def receiving(pair: Pair, runs: int, file: Path) -> Comparison:
    """Measure each tool receiving as much from the kernel to /dev/null."""
    size = file.stat().st_size
    bounds = {"iperf3 -R": (0.65, 0.9), "nc": (0.6, 0.8)}
    receive = Comparison("bulk receive", "Gbit/s", True, bounds)
    counts: queue.Queue[Count] = queue.Queue()

    def source(conn: socket.socket) -> None:
        counts.put(pour(conn, size))

    def by(tool: str, port: int) -> None:
        spent = run(pair.host, command(tool, pair.peer.ipv4, port))
        if spent.code:
            raise RuntimeError(f"{tool} ended with {spent.code}")
        receive.add(tool, rate([counts.get(timeout=60)]))

    def by_iperf3() -> None:
        receive.add("iperf3 -R", iperf3.tcp(pair, ["-n", str(size), "-R"]))

    with listening(pair.peer, source) as port:
        measures = {tool: partial(by, tool, port) for tool in ("netkat", "nc")}
        interleave(runs, {**measures, "iperf3": by_iperf3})
    return receive


def command(tool: str, host: str, port: int) -> list[str]:
    """Return the command line of a tool."""
    return {
        "netkat": [*NETKAT, host, str(port)],
        "socat": ["socat", "-u", "-b", "262144", "-", f"TCP:{host}:{port}"],
        "nc": ["nc.openbsd", "-N", host, str(port)],
        "ncat": ["ncat", "--send-only", host, str(port)],
    }[tool]
