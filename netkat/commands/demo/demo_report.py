"""What the demo measured, as plain data for JSON: docs/json/demo.schema.json."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from netkat.commands.demo.cluster import CLIENT, GATEWAY, NODES, POD, SERVICE
from netkat.commands.demo.measure import ResultBlock, Row
from netkat.commands.demo.probes import ProbeResult

VERSION = 1


def as_data(blocks: Iterable[ResultBlock], pod_node: str, seconds: float) -> dict[str, Any]:
    """Everything measured: the cluster, and one flat entry a probe under "cells"."""
    return {
        "version": VERSION,
        "command": "demo",
        "nodes": NODES,
        "client": CLIENT,
        "load_balancer": GATEWAY,
        "service": SERVICE,
        "pod": {"address": POD, "node": pod_node},
        "seconds": round(seconds, 1),
        "cells": [
            _cell(block, row, outcome)
            for block in blocks
            for row in block.rows
            for outcome in (*row.outcomes, row.via)
        ],
    }


def _cell(block: ResultBlock, row: Row, outcome: ProbeResult) -> dict[str, Any]:
    return {
        "mode": block.mode,
        "policy": block.policy,
        "load_balancer_sends_to": row.choice,
        "protocol": row.protocol,
        "from": outcome.probe.source_node,
        "path": outcome.probe.path,
        "via": outcome.probe.via,
        "outcome": outcome.kind,
        "source": outcome.source,
        "source_preserved": outcome.preserved if outcome.answered else None,
        "reached_load_balancer": outcome.reached,
        "captured": outcome.captured,
        "wrong": row.wrong(outcome),
        "words": outcome.words,
    }
