"""What the measurements say of their samples, and where they write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import performance_page
from bench.__main__ import falls
from bench.samples import Comparison, Curve, Failure, Figure, curve_table, table
from bench.testbed import Extent


def row(
    value: float, other: float, *, more_is_better: bool, must: float, goal: float
) -> Comparison:
    made = Comparison("it", "u", more_is_better, {"other": (must, goal)})
    made.samples = {"netkat": [value], "other": [other]}
    return made


@pytest.mark.parametrize(
    ("value", "more_is_better", "must", "goal", "verdict", "fallen"),
    [
        (10.0, True, 0.7, 1.0, "goal", False),
        (8.0, True, 0.7, 1.0, "must", False),
        (6.0, True, 0.7, 1.0, "short", False),
        (0.5, True, 0.7, 1.0, "short", True),
        (17.0, False, 2.5, 1.7, "goal", False),
        (20.0, False, 2.5, 1.7, "must", False),
        (30.0, False, 2.5, 1.7, "short", False),
        (300.0, False, 2.5, 1.7, "short", True),
    ],
)
def test_ratio_is_judged(
    value: float, more_is_better: bool, must: float, goal: float, verdict: str, fallen: bool
) -> None:
    made = row(value, 10.0, more_is_better=more_is_better, must=must, goal=goal)
    assert table([made]).splitlines()[-1].endswith(f"| {verdict} |")
    assert bool(falls([made])) is fallen


def test_own_limit_is_judged_without_a_rival() -> None:
    made = Comparison("start", "ms", False, limits=(350.0, 150.0))
    made.add("netkat", 200.0)
    assert "| <= 350 ms | <= 150 ms | must |" in table([made])
    assert falls([made]) == []
    made.samples["netkat"] = [9000.0]
    assert falls([made])


def test_curve_has_a_line_for_each_x() -> None:
    curve = Curve("mtu", "by MTU", "bytes", "Gbit/s")
    for x, value in ((1500, 2.0), (1500, 4.0), (9000, 5.0)):
        curve.add("netkat", x, value)
    curve.add("kernel", 9000, 7.0)
    assert curve_table(curve).splitlines()[2:] == ["| 1500 | 3 |  |", "| 9000 | 5 | 7 |"]


def test_page_keeps_what_people_wrote(tmp_path: Path) -> None:
    page = f"above\n\n{performance_page.BEGIN}old numbers\n{performance_page.END}\nbelow\n"
    figures: list[Figure] = [
        row(1.0, 1.0, more_is_better=True, must=1, goal=2),
        Failure("lossy", "no time was left"),
    ]
    written = performance_page.replaced(
        page, performance_page.text(figures, Extent(False, 5, 4096), 0.5)
    )
    assert written.startswith("above\n") and written.endswith("\nbelow\n")
    assert "old numbers" not in written
    assert "**Not measured: lossy.** no time was left" in written
    assert (
        performance_page.replaced(written, "new")
        == f"above\n\n{performance_page.BEGIN}\nnew\n\n{performance_page.END}\nbelow\n"
    )
