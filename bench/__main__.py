"""netkat beside iperf3, socat, nc, ncat, tcpdump and the kernel's sockets, runs interleaved.

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

from bench import report
from bench.figures import Curve, Failure, Figure, Row, curve_table, table
from bench.place import Extent

PARTS = ("startup", "memory", "small", "bulk", "parallel", "datagrams", "lossy", "sniff", "curves")
"""Modules of this package, each with a measure(extent) of its own."""

LONGEST = 17 * 60.0
"""Seconds after which no other part is begun: the whole is to take 20 minutes at most."""

FLOOR = 8.0
"""In the short form: to miss a must by so many times, twice, is a gross regression, not noise."""

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
"""The same where one run of few seconds says less, or more."""


def main() -> int:
    """Measure, print, and 1 where a part fails or the short form finds a gross regression."""
    given = arguments()
    if os.geteuid():
        print("netkat: the measurements make network namespaces: run them as root")
        return 2
    load = os.getloadavg()[0]
    extent = Extent(given.short, given.runs, given.megabytes)
    figures: list[Figure] = []
    begun = time.monotonic()
    print(report.machine(extent, load), flush=True)
    if given.against:
        return compare(extent, given.against, given.only)
    for part in given.only:
        found = measured(part, extent, time.monotonic() - begun)
        if given.short and falls(found):
            # Whatever else the machine did: once more, and only what falls twice has fallen.
            found = measured(part, extent, time.monotonic() - begun)
        figures += found
    print(f"\n{time.monotonic() - begun:.0f} s in all", flush=True)
    if given.write:
        report.write(figures, extent, load)
        print(f"written to {report.PAGE.name}")
    bad = falls(figures) if given.short else [f for f in figures if isinstance(f, Failure)]
    for one in bad:
        print(f"{one.part}: {one.why}", file=sys.stderr)
    return 1 if bad else 0


def arguments() -> argparse.Namespace:
    """The command line; what is not said follows from --short."""
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
    """Compare with another revision: 1 where a row is short of its bound."""
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
    """A part's figures, printed; a Failure where it fails, and the others go on."""
    if spent > LONGEST:
        return [Failure(part, f"no time was left after {spent:.0f} s")]
    begun = time.monotonic()
    try:
        figures: list[Figure] = importlib.import_module(f"bench.{part}").measure(extent)
    except Exception as error:
        traceback.print_exc()
        figures = [Failure(part, f"{type(error).__name__}: {error}")]
    print(f"\n{part}, {time.monotonic() - begun:.0f} s\n")
    print(table(one for one in figures if isinstance(one, Row)))
    for one in figures:
        if isinstance(one, Curve):
            print(f"\n{one.what} ({one.unit})\n\n{curve_table(one)}")
    sys.stdout.flush()
    return figures


def falls(figures: list[Figure]) -> list[Failure]:
    """What was not measured, and what is a gross regression."""
    failures = [one for one in figures if isinstance(one, Failure)]
    rows = [one for one in figures if isinstance(one, Row)]
    return failures + [fall for row in rows for fall in regressions(row)]


def regressions(row: Row) -> list[Failure]:
    """Where netkat is far below what it must reach."""
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
