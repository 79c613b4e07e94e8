"""netkat beside iperf3, socat, nc, ncat and the kernel's sockets, in one interleaved run.

Two namespaces, one veth pair; root. The table goes to stdout as Markdown.

    python3 build.py bench [--short] [-- --only bulk,small,startup --runs 5 --megabytes 4096]
"""

from __future__ import annotations

import argparse
import os
import platform
import sys

from bench import bulk, small, startup
from bench.figures import Row, table
from bench.place import page_cache_file
from tests.helpers.netns import netns_pair

PARTS = ("startup", "small", "bulk")

FLOOR = 0.25
"""In the short form: a ratio this far under its must is a gross regression, not noise."""

FLOORS = {"connect + close": 0.02}
"""The same for what is below that today (docs/performance.md): raise it with the result."""


def main() -> int:
    """Measure, print, and 1 where the short form finds a gross regression."""
    given = arguments()
    if os.geteuid():
        print("netkat: the measurements make network namespaces: run them as root")
        return 2
    rows: list[Row] = []
    with netns_pair("nkb") as pair:
        if "startup" in given.only:
            rows += startup.measure(pair, given.runs)
        if "small" in given.only:
            rounds, connects = (1500, 20) if given.short else (10000, 200)
            rows += small.measure(pair, given.runs, rounds, connects)
        if "bulk" in given.only:
            with page_cache_file(given.megabytes << 20) as file:
                rows += bulk.measure(pair, file, given.runs)
    print(f"Linux {platform.release()}, {platform.machine()}, {os.cpu_count()} processors,", end="")
    print(f" Python {platform.python_version()}, {given.runs} runs, {given.megabytes} MiB bulk\n")
    print(table(rows), flush=True)
    return 1 if given.short and any(map(regressed, rows)) else 0


def arguments() -> argparse.Namespace:
    """The command line; what is not said follows from --short."""
    parser = argparse.ArgumentParser(prog="python3 -m bench")
    parser.add_argument("--short", action="store_true", help="under 90 s, for CI")
    parser.add_argument("--only", default=PARTS, type=lambda text: text.split(","), metavar="PARTS")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--megabytes", type=int)
    given = parser.parse_args()
    given.runs = given.runs or (3 if given.short else 5)
    given.megabytes = given.megabytes or (512 if given.short else 4096)
    return given


def regressed(row: Row) -> bool:
    """Whether netkat is far below what it must reach; said on stderr."""
    for other, (must, _) in row.bounds.items():
        ratio = row.ratio(other)
        floor = FLOORS.get(row.what, FLOOR)
        bad = ratio < must * floor if row.more_is_better else ratio > must / floor
        if bad:
            print(f"{row.what}: {ratio:.2f} x {other}, must be {must:g}", file=sys.stderr)
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
