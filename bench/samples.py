"""Samples of interleaved runs: comparisons with bounds, curves, and failures."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

Bound = tuple[float, float]
"""(must, goal)."""


@dataclass
class Comparison:
    """One measured quantity: samples by tool, in ``unit``.

    ``more_is_better`` is the direction of a ratio. ``bounds`` are of netkat's ratio to
    each other tool, ``limits`` of netkat's own value.
    """

    what: str
    unit: str
    more_is_better: bool
    bounds: dict[str, Bound] = field(default_factory=dict)
    limits: Bound | None = None
    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, tool: str, value: float) -> None:
        """Add the result of a run."""
        self.samples.setdefault(tool, []).append(value)

    def median(self, tool: str) -> float:
        """Return the median of a tool."""
        return statistics.median(self.samples[tool])

    def ratio(self, other: str) -> float:
        """Return netkat's median divided by the other's."""
        below = self.median(other)
        return self.median("netkat") / below if below else float("inf")

    def compared(self) -> list[str]:
        """Return the tools that ran and whose ratio has a bound."""
        return [tool for tool in self.bounds if tool in self.samples and "netkat" in self.samples]

    def verdict(self, value: float, bound: Bound) -> str:
        """Return "goal", "must" or "short"."""
        must, goal = bound
        if not self.more_is_better:
            value, must, goal = -value, -must, -goal
        return "goal" if value >= goal else "must" if value >= must else "short"

    def misses_by(self, value: float, must: float) -> float:
        """Return the factor by which a value misses its must; at most 1 if it does not."""
        if self.more_is_better:
            return must / value if value else float("inf")
        return value / must


@dataclass
class Curve:
    """A quantity as a function of x: samples by tool and x."""

    name: str
    """Name of the plot's file."""
    what: str
    x: str
    unit: str
    points: dict[str, dict[float, list[float]]] = field(default_factory=dict)

    def add(self, tool: str, x: float, value: float) -> None:
        """Add the result of a run at x."""
        self.points.setdefault(tool, {}).setdefault(x, []).append(value)

    def medians(self, tool: str) -> list[tuple[float, float]]:
        """Return (x, median) in order."""
        return [(x, statistics.median(v)) for x, v in sorted(self.points[tool].items())]


@dataclass(frozen=True)
class Failure:
    """A part that was not measured, and why."""

    part: str
    why: str


Figure = Comparison | Curve | Failure


def interleave(runs: int, measures: Mapping[str, Callable[[], None]]) -> None:
    """Run all in turn, ``runs`` times, so that other load affects each alike."""
    for _ in range(runs):
        for measure in measures.values():
            measure()


def table(rows: Iterable[Comparison]) -> str:
    """Return Markdown: median, lowest and highest of each tool, netkat's ratio, must, goal."""
    lines = [
        "| what | tool | median | lowest - highest | netkat's ratio | must | goal | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        for tool, values in row.samples.items():
            cells = [row.what, tool, f"{row.median(tool):.4g} {row.unit}"]
            cells.append(f"{min(values):.4g} - {max(values):.4g}")
            lines.append("| " + " | ".join(cells + _judged(row, tool)) + " |")
    return "\n".join(lines)


def _judged(row: Comparison, tool: str) -> list[str]:
    sign = ">=" if row.more_is_better else "<="
    if tool in row.compared():
        ratio, bound = row.ratio(tool), row.bounds[tool]
        shown = [f"{ratio:.2f}"] + [f"{sign} {value:g}" for value in bound]
        return [*shown, row.verdict(ratio, bound)]
    if tool == "netkat" and row.limits is not None:
        shown = [f"{sign} {value:g} {row.unit}" for value in row.limits]
        return ["", *shown, row.verdict(row.median(tool), row.limits)]
    return ["", "", "", ""]


def curve_table(curve: Curve) -> str:
    """Return Markdown with a line for each x and a column for each tool."""
    tools = list(curve.points)
    columns = {tool: dict(curve.medians(tool)) for tool in tools}
    lines = [f"| {curve.x} | " + " | ".join(tools) + " |", "|---" * (len(tools) + 1) + "|"]
    for x in sorted({x for column in columns.values() for x in column}):
        cells = [f"{columns[tool][x]:.4g}" if x in columns[tool] else "" for tool in tools]
        lines.append(f"| {x:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
