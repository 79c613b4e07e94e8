"""Compare netkat with iperf3, socat, nc, ncat, tcpdump and kernel sockets, interleaved.

Two namespaces, one veth pair; root. The tables go to stdout as Markdown; a whole run writes
them into docs/performance.md, with plots.

    python3 build.py bench [--short] [-- --only bulk,small --runs 5 --megabytes 4096 --write]
    python3 build.py bench -- --against REVISION [--only startup,bulk_send]
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
import traceback
from collections.abc import Sequence

from bench import performance_page
from bench.samples import Comparison, Curve, Failure, Figure, curve_table, table
from bench.testbed import Extent

PARTS = (
    "start_time",
    "memory_use",
    "latency",
    "bulk",
    "parallel",
    "udp_rate",
    "loss",
    "capture_rate",
    "curves",
)
"""Modules of this package, each with a function measure(extent)."""

LONGEST = 17 * 60.0
"""Seconds after which no other part starts: all of it takes 20 minutes at most."""

FLOOR = 8.0
"""Factor by which the short form has to miss a must, twice, for a gross regression."""

FLOORS = {
    # Of 128 MiB, netkat's start is more than all the rest.
    "CPU of the sender": 40.0,
    # One wait for the processor is as long as fifty messages.
    "64-byte ping-pong, p99": 60.0,
    # Of so few most are on ports of their own, and what many have in common is loaded.
    "connect + close": 30.0,
    # Half a second of each, one after the other.
    "send beside a busy loop in Python": 20.0,
    # Six times below its must where nothing else runs, and absolute.
    "-z, 1,000 closed ports, exec to exit": 2.0,
}
"""FLOOR of rows for which one run of few seconds is less, or more, exact."""


def main() -> int:
    """Measure and print. Return 1 if a part fails or the short form finds a gross regression."""
    given = arguments()
    if os.geteuid():
        print("netkat: the measurements make network namespaces: run them as root")
        return 2
    load = os.getloadavg()[0]
    extent = Extent(given.short, given.runs, given.megabytes)
    figures: list[Figure] = []
    begun = time.monotonic()
    print(performance_page.machine(extent, load), flush=True)
    if given.against:
        return compare(extent, given.against, given.only)
    for part in given.only:
        found = measured(part, extent, time.monotonic() - begun)
        if given.short and falls(found):
            # Measured again, since other load may be the reason.
            found = measured(part, extent, time.monotonic() - begun)
        figures += found
    print(f"\n{time.monotonic() - begun:.0f} s in all", flush=True)
    if given.write:
        performance_page.write(figures, extent, load)
        print(f"written to {performance_page.PAGE.name}")
    bad = falls(figures) if given.short else [f for f in figures if isinstance(f, Failure)]
    for one in bad:
        print(f"{one.part}: {one.why}", file=sys.stderr)
    return 1 if bad else 0


def arguments() -> argparse.Namespace:
    """Parse the command line. Defaults depend on --short."""
    parser = argparse.ArgumentParser(prog="python3 build.py bench --")
    parser.add_argument("--short", action="store_true", help="under 90 s, for CI")
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="PARTS")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--megabytes", type=int)
    parser.add_argument("--against", metavar="REVISION", help="compare with another revision")
    parser.add_argument("--write", action="store_true", help="docs/performance.md, also of a part")
    given = parser.parse_args()
    parts: Sequence[str] = PARTS
    if given.against:
        from bench import against

        parts = tuple(against.PARTS)
    given.only = given.only or parts
    if unknown := set(given.only) - set(parts):
        parser.error(f"{', '.join(sorted(unknown))}: none of {', '.join(parts)}")
    given.write = given.write or (tuple(given.only) == PARTS and not given.short)
    given.runs = given.runs or (1 if given.short else 5)
    given.megabytes = given.megabytes or (128 if given.short else 4096)
    return given


def compare(extent: Extent, revision: str, parts: Sequence[str]) -> int:
    """Compare with another revision. Return 1 if a row misses its bound."""
    from bench.against import measure

    rows = measure(extent, revision, parts)
    print(table(rows))
    short = [
        row.what
        for row in rows
        for tool in row.compared()
        if row.verdict(row.ratio(tool), row.bounds[tool]) == "short"
    ]
    for what in short:
        print(f"short: {what}", file=sys.stderr)
    return 1 if short else 0


def measured(part: str, extent: Extent, spent: float) -> list[Figure]:
    """Measure a part and print its figures. A part that fails is a Failure."""
    if spent > LONGEST:
        return [Failure(part, f"no time was left after {spent:.0f} s")]
    begun = time.monotonic()
    try:
        figures: list[Figure] = importlib.import_module(f"bench.{part}").measure(extent)
    except Exception as error:
        traceback.print_exc()
        figures = [Failure(part, f"{type(error).__name__}: {error}")]
    print(f"\n{part}, {time.monotonic() - begun:.0f} s\n")
    print(table(one for one in figures if isinstance(one, Comparison)))
    for one in figures:
        if isinstance(one, Curve):
            print(f"\n{one.what} ({one.unit})\n\n{curve_table(one)}")
    sys.stdout.flush()
    return figures


def falls(figures: list[Figure]) -> list[Failure]:
    """Return what was not measured, and gross regressions."""
    failures = [one for one in figures if isinstance(one, Failure)]
    rows = [one for one in figures if isinstance(one, Comparison)]
    return failures + [fall for row in rows for fall in regressions(row)]


def regressions(row: Comparison) -> list[Failure]:
    """Return where netkat is far below what it must reach."""
    floor = FLOORS.get(row.what, FLOOR)
    found = []
    for tool in row.compared():
        ratio, must = row.ratio(tool), row.bounds[tool][0]
        if row.misses_by(ratio, must) > floor:
            found.append(Failure(row.what, f"{ratio:.3g} x {tool}, must be {must:g}"))
    if row.limits is not None and "netkat" in row.samples:
        value, must = row.median("netkat"), row.limits[0]
        if row.misses_by(value, must) > floor:
            found.append(Failure(row.what, f"{value:.4g} {row.unit}, must be {must:g}"))
    return found


if __name__ == "__main__":
    sys.exit(main())
