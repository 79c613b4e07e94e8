"""A lossy network, and one without offloads: netkat compared with the kernel's CUBIC.

One forwarder process between two namespaces loses and delays frames for both alike;
what it can carry at all is measured too.
"""

from __future__ import annotations

from functools import partial

from bench import iperf3
from bench.bulk_receiver import sink
from bench.children import SEND, ask
from bench.samples import Comparison, interleave
from bench.testbed import Extent, Pair
from tests.helpers.forwarder import impaired_pair
from tests.helpers.netns import netns_pair

BLOCK = 64 << 10
ROUND_TRIP = 0.02
"""Seconds."""
CUBIC = -1
TOOLS = {"netkat": "netkat", "kernel": "kernel, cubic"}
LOSSES = {0.001: 10.0, 0.01: 5.0}
"""Seconds for each loss rate: a few dozen losses, to reduce the effect of chance."""


def measure(extent: Extent) -> list[Comparison]:
    """Measure goodput."""
    if extent.short:
        return [through(extent, 0.001, 1.0), bare(extent)]
    rows = [through(extent, loss, seconds) for loss, seconds in LOSSES.items()]
    return [*rows, ceiling(extent), bare(extent)]


def through(extent: Extent, loss: float, seconds: float) -> Comparison:
    """Measure with loss and delay. In each run both lose the same segments."""
    what = f"{loss:.1%} loss, {ROUND_TRIP * 1000:g} ms round trip"
    row = Comparison(what, "Mbit/s", True, {"kernel, cubic": (0.7, 1.0)})
    for run in range(extent.runs):
        for tool in TOOLS:
            with impaired_pair("nkb", loss=loss, delay=ROUND_TRIP / 2, seed=run) as pair:
                send(pair, row, tool, seconds)
    return row


def ceiling(extent: Extent) -> Comparison:
    """Measure the forwarder without loss and delay, which bounds the other rows."""
    row = Comparison("the forwarder's own ceiling", "Mbit/s", True)
    with impaired_pair("nkb") as pair:
        measures = {tool: partial(send, pair, row, tool, 1.0) for tool in TOOLS}
        interleave(min(extent.runs, 3), measures)
    return row


def send(pair: Pair, row: Comparison, tool: str, seconds: float) -> None:
    """Send for that time."""
    with sink(pair.peer) as end:
        ask(pair.host, tool, SEND, pair.peer.ipv4, end.port, seconds, BLOCK, 1, CUBIC)
        row.add(TOOLS[tool], end.rate() * 1000)


def bare(extent: Extent) -> Comparison:
    """Measure without device offloads: the kernel segments and computes checksums."""
    what = "MTU 1500, offloads off"
    row = Comparison(what, "Gbit/s", True, {"kernel socket": (0.5, 0.8)})
    block = 256 << 10

    def by(tool: str, name: str) -> None:
        ask(pair.host, tool, SEND, pair.peer.ipv4, end.port, extent.seconds, block, 1, 0)
        row.add(name, end.rate())

    def by_iperf3() -> None:
        row.add("iperf3", iperf3.tcp(pair, ["-t", str(max(1, round(extent.seconds)))]))

    with netns_pair("nkb", offloads=False) as pair, sink(pair.peer) as end:
        names = {"netkat": "netkat", "kernel": "kernel socket"}
        measures = {tool: partial(by, tool, name) for tool, name in names.items()}
        interleave(extent.runs, {**measures, "iperf3": by_iperf3})
    return row
