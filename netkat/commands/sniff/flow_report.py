"""--stats: a table of flows, on a terminal every second and at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from netkat.capture.flow_statistics import FlowStatistics
from netkat.capture.packet import Packet
from netkat.commands.sniff.outputs import pluralise, write_stdout


class FlowReport:
    """Shows the busiest flows while the capture runs (on a terminal), and all at the end."""

    ROWS = 15

    def __init__(self) -> None:
        self.statistics = FlowStatistics()
        self._live = sys.stdout is not None and sys.stdout.isatty()
        self._drawn_at = 0.0
        self._drawn_lines = 0

    def packets(self, packets: Sequence[Packet]) -> None:
        """Count a batch, without the packets that the kernel dropped."""
        for packet in packets:
            if not packet.drop:
                self.statistics.add(packet)
        self.tick()

    def tick(self) -> None:
        """Redraw the table if one second has passed."""
        now = time.monotonic()
        if self._live and now - self._drawn_at >= 1:
            self._drawn_at = now
            self._draw(self.ROWS)

    def finish(self) -> None:
        """Print the whole table."""
        self._draw(None)

    def _draw(self, rows: int | None) -> None:
        lines = table_lines(self.statistics, rows)
        back = f"\x1b[{self._drawn_lines}A\x1b[J" if self._drawn_lines else ""
        self._drawn_lines = len(lines)
        write_stdout((back + "\n".join(lines) + "\n").encode())


def table_lines(statistics: FlowStatistics, rows: int | None) -> list[str]:
    """Return a heading, one line for each flow (the busiest first) and a summary."""
    flows = statistics.top(rows)
    names = [str(flow) for flow in flows]
    width = max([len(name) for name in names] + [24])
    lines = [
        f"{'flow':<{width}} {'packets':>9} {'bytes':>12} {'retrans':>8} {'rtt ms':>9} {'s':>8}"
    ]
    for name, flow in zip(names, flows, strict=True):
        rtt = "-" if flow.rtt_ns is None else f"{flow.rtt_ns / 1e6:.3f}"
        retransmits = str(flow.retransmits) if flow.protocol == "tcp" else "-"
        lines.append(
            f"{name:<{width}} {flow.packets:>9} {flow.bytes:>12} {retransmits:>8} {rtt:>9} "
            f"{(flow.last_ns - flow.first_ns) / 1e9:>8.3f}"
        )
    hidden = len(statistics.flows) - len(flows)
    rest = f", {pluralise(hidden, 'flow')} not shown" if hidden else ""
    other = f", {statistics.other} of them in no flow" if statistics.other else ""
    lines.append(
        f"{pluralise(len(statistics.flows), 'flow')}, {pluralise(statistics.packets, 'packet')}"
        f"{other}, {pluralise(statistics.bytes, 'byte')}{rest}"
    )
    return lines
