"""A bad network, and one without offloads: netkat beside the kernel's cubic.

One forwarder process between two namespaces loses and delays frames for both alike;
what it can carry at all is measured too.
"""

from __future__ import annotations

from functools import partial

from bench import rival
from bench.children import SEND, ask
from bench.figures import Row, interleave
from bench.place import Extent, Pair
from bench.sink import sink
from tests.helpers.forwarder import impaired_pair
from tests.helpers.netns import netns_pair

BLOCK = 64 << 10
ROUND_TRIP = 0.02
"""Seconds."""
CUBIC = -1
TOOLS = {"netkat": "netkat", "kernel": "kernel, cubic"}
LOSSES = {0.001: 10.0, 0.01: 5.0}
"""Seconds of each share: a few dozen losses, so that chance has less of a say."""


def measure(extent: Extent) -> list[Row]:
    """Goodput."""
    if extent.short:
        return [through(extent, 0.001, 1.0), bare(extent)]
    rows = [through(extent, loss, seconds) for loss, seconds in LOSSES.items()]
    return [*rows, ceiling(extent), bare(extent)]


def through(extent: Extent, loss: float, seconds: float) -> Row:
    """With loss and delay: in each run the same segments of either are lost."""
    what = f"{loss:.1%} loss, {ROUND_TRIP * 1000:g} ms round trip"
    row = Row(what, "Mbit/s", True, {"kernel, cubic": (0.7, 1.0)})
    for run in range(extent.runs):
        for tool in TOOLS:
            with impaired_pair("nkb", loss=loss, delay=ROUND_TRIP / 2, seed=run) as pair:
                send(pair, row, tool, seconds)
    return row


def ceiling(extent: Extent) -> Row:
    """The forwarder without loss and delay: nothing that goes through it can be faster."""
    row = Row("the forwarder's own ceiling", "Mbit/s", True)
    with impaired_pair("nkb") as pair:
        measures = {tool: partial(send, pair, row, tool, 1.0) for tool in TOOLS}
        interleave(min(extent.runs, 3), measures)
    return row


def send(pair: Pair, row: Row, tool: str, seconds: float) -> None:
    """As much as goes in that time."""
    with sink(pair.peer) as end:
        ask(pair.host, tool, SEND, pair.peer.ipv4, end.port, seconds, BLOCK, 1, CUBIC)
        row.add(TOOLS[tool], end.rate() * 1000)


def bare(extent: Extent) -> Row:
    """Device offloads off at both ends: the kernel cuts and sums for either."""
    what = "MTU 1500, offloads off"
    row = Row(what, "Gbit/s", True, {"kernel socket": (0.5, 0.8)})
    block = 256 << 10

    def by(tool: str, name: str) -> None:
        ask(pair.host, tool, SEND, pair.peer.ipv4, end.port, extent.seconds, block, 1, 0)
        row.add(name, end.rate())

    def by_iperf3() -> None:
        row.add("iperf3", rival.tcp(pair, ["-t", str(max(1, round(extent.seconds)))]))

    with netns_pair("nkb", offloads=False) as pair, sink(pair.peer) as end:
        names = {"netkat": "netkat", "kernel": "kernel socket"}
        measures = {tool: partial(by, tool, name) for tool, name in names.items()}
        interleave(extent.runs, {**measures, "iperf3": by_iperf3})
    return row
