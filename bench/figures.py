"""Samples of several interleaved runs, and the table that comes of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Row:
    """One thing that is measured: samples by tool, in ``unit``.

    ``more_is_better`` says which way a ratio goes. Its bounds, against each
    other tool, are (must, goal).
    """

    what: str
    unit: str
    more_is_better: bool
    bounds: dict[str, tuple[float, float]]
    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, tool: str, value: float) -> None:
        """One more run of a tool."""
        self.samples.setdefault(tool, []).append(value)

    def median(self, tool: str) -> float:
        """The middle of what a tool reached."""
        return statistics.median(self.samples[tool])

    def ratio(self, other: str) -> float:
        """netkat's median over the other's."""
        return self.median("netkat") / self.median(other)

    def verdict(self, other: str) -> str:
        """goal, must or short, by the ratio against ``other``."""
        must, goal = self.bounds[other]
        value = self.ratio(other)
        if self.more_is_better:
            return "goal" if value >= goal else "must" if value >= must else "short"
        return "goal" if value <= goal else "must" if value <= must else "short"


def interleave(runs: int, measures: dict[str, Callable[[], None]]) -> None:
    """Run all of them in turn, ``runs`` times: what the machine does meanwhile hits each alike."""
    for _ in range(runs):
        for measure in measures.values():
            measure()


def table(rows: list[Row]) -> str:
    """Markdown: median (lowest to highest) of each tool, netkat's ratio to it, must and goal."""
    lines = [
        "| what | tool | median | lowest - highest | netkat's ratio | must | goal | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        for tool, values in row.samples.items():
            cells = [row.what, tool, f"{row.median(tool):.4g} {row.unit}"]
            cells.append(f"{min(values):.4g} - {max(values):.4g}")
            if tool in row.bounds:
                sign = ">=" if row.more_is_better else "<="
                must, goal = row.bounds[tool]
                cells += [f"{row.ratio(tool):.2f}", f"{sign} {must:g}", f"{sign} {goal:g}"]
                cells.append(row.verdict(tool))
            else:
                cells += ["", "", "", ""]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
