"""Plots as SVG by matplotlib. The same figures produce the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

from bench.samples import Comparison, Curve

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "netkat", "svg.fonttype": "none", "font.size": 9})

from matplotlib import pyplot  # noqa: E402, the backend comes first

COLORS = {"goal": "tab:green", "must": "tab:orange", "short": "tab:red"}


def plot_curve(curve: Curve, path: Path) -> None:
    """Draw medians as lines and all runs as a band."""
    figure, axes = pyplot.subplots(figsize=(6, 3.5))
    for tool in curve.points:
        xs, ys = zip(*curve.medians(tool), strict=True)
        runs = [curve.points[tool][x] for x in xs]
        axes.plot(xs, ys, marker="o", markersize=4, label=tool)
        axes.fill_between(xs, [min(v) for v in runs], [max(v) for v in runs], alpha=0.2)
    everything = [x for tool in curve.points for x in curve.points[tool]]
    if min(everything) > 0 and max(everything) > 20 * min(everything):
        axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set(title=curve.what, xlabel=curve.x, ylabel=curve.unit)
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, path)


def plot_ratios(rows: list[Comparison], path: Path) -> None:
    """Draw netkat's ratio to each tool as a bar with must and goal; longer is better."""
    bars = [(row, tool) for row in rows for tool in row.compared()]
    figure, axes = pyplot.subplots(figsize=(8, 0.35 * len(bars) + 1))
    for at, (row, tool) in enumerate(reversed(bars)):
        ratio, bound = row.ratio(tool), row.bounds[tool]
        values = [v if row.more_is_better else 1 / v for v in (ratio, *bound)]
        axes.barh(at, values[0], color=COLORS[row.verdict(ratio, bound)], height=0.6)
        axes.plot([values[1]] * 2, [at - 0.4, at + 0.4], color="black", linewidth=1)
        axes.plot([values[2]] * 2, [at - 0.4, at + 0.4], color="black", linestyle=":")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(lambda x, _: f"{x:g}" if f"{x:.0e}"[0] in "25" else "")
    axes.set_yticks(range(len(bars)), [f"{row.what} / {tool}" for row, tool in reversed(bars)])
    axes.set_xlabel("times as good as the tool; solid line: must, dotted: goal")
    axes.grid(axis="x", alpha=0.3)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
