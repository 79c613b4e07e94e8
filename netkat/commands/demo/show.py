"""The demo from its first line to its last: build, measure, print, take down."""

from __future__ import annotations

import json as json_format
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import TextIO

from netkat.commands.demo import interrupt
from netkat.commands.demo.cluster import Cluster
from netkat.commands.demo.colour import Colourizer
from netkat.commands.demo.demo_report import as_data
from netkat.commands.demo.measure import ResultBlock, measure
from netkat.commands.demo.table import heading, legend, table, via_table
from netkat.commands.demo.tools import DemoFailed, missing_tools

_PLAIN = str.maketrans("─┬├└", "-+++")


def show(*, out: TextIO | None, colour: bool, json: bool) -> int:
    """See ``netkat.commands.demo.run``."""
    _check_machine()
    out = sys.stdout if out is None else out
    cluster = Cluster()
    with interrupt.interruptible():
        try:
            try:
                cluster.build()
                blocks = _measure(cluster, out, colour, json)
            finally:
                interrupt.ignore()
                cluster.close()
        except interrupt.DemoInterrupted as interrupted:
            cluster.close()  # the signal may have come just before the line above
            return 128 + interrupted.number
        except BrokenPipeError:
            # "| head" has seen enough. Python flushes stdout once more at its end.
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), out.fileno())
            return 128 + signal.SIGPIPE
    return 0 if _netkat_is_right(blocks) else 1


def _measure(cluster: Cluster, out: TextIO, colour: bool, json: bool) -> list[ResultBlock]:
    begun, paint, blocks = time.monotonic(), Colourizer(colour), []
    if not json:
        _print(heading(cluster.pod_node, paint), out)
    for block in measure(cluster):
        blocks.append(block)
        if not json:
            _print(table(block, cluster.pod_node, paint), out)
    seconds = time.monotonic() - begun
    if json:
        _print([json_format.dumps(as_data(blocks, cluster.pod_node, seconds), indent=2)], out)
    else:
        _print(via_table(blocks, cluster.pod_node, paint), out)
        _print(legend(blocks, seconds, paint), out)
    return blocks


def _netkat_is_right(blocks: Sequence[ResultBlock]) -> bool:
    return not any(
        row.wrong(outcome) or outcome.captured or outcome.kind == "error"
        for block in blocks
        for row in block.rows
        for outcome in (*row.outcomes, row.via)
        if outcome.probe.path == "netkat"
    )


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise DemoFailed("demo: needs root: it builds a cluster out of network namespaces")
    if missing := missing_tools():
        packages = " ".join(sorted(set(missing.values())))
        raise DemoFailed(
            f"demo: {', '.join(sorted(missing))} not found; apt-get install {packages}"
        )


def _print(lines: Sequence[str], out: TextIO) -> None:
    text = "\n".join(lines)
    try:
        text.encode(out.encoding or "utf-8")
    except UnicodeEncodeError:
        text = text.translate(_PLAIN)  # a terminal without UTF-8, LC_ALL=C
    print(text, file=out, flush=True)
