"""What the demo measured, as text for people: at most 100 columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from netkat.commands.demo.cluster import CLIENT, GATEWAY, NODES, POD, SERVICE, SERVICE_PORTS
from netkat.commands.demo.colour import Colourizer, TextStyle
from netkat.commands.demo.measure import PROTOCOLS, VANTAGE_POINTS, VIA_SOURCE, ResultBlock, Row
from netkat.commands.demo.probes import ProbeResult

WIDTH = 100
_COLUMNS = (16, 13, 19, 19, 14, 14)
_VIA_COLUMNS = (22, 26, 26)

Cell = tuple[str, TextStyle]


def heading(pod_node: str, paint: Colourizer) -> list[str]:
    """The question, the cluster as a picture, and how to read a cell."""
    trunk = f"  client {CLIENT} ── load balancer {GATEWAY} ──"
    lines = []
    for number, (node, address) in enumerate(NODES.items()):
        before = " " * len(trunk) if number else trunk
        branch = "┬" if number == 0 else "└" if number == len(NODES) - 1 else "├"
        pod = f" ── pod {POD}" if node == pod_node else ""
        lines.append(f"{before}{branch}── {node} {address}{pod}")
    ports = " and ".join(f"{SERVICE_PORTS[protocol]}/{protocol}" for protocol in PROTOCOLS)
    question = f"Does the LoadBalancer address {SERVICE}, port {ports}, work from outside?"
    return [
        paint(question, TextStyle.STRONG),
        "",
        *lines,
        "",
        "Asked by a client outside, by nc on the nodes (the kernel's path) and by netkat on them.",
        "A cell is the source address that the pod saw, or why no answer came.",
        "",
    ]


def table(block: ResultBlock, pod_node: str, paint: Colourizer) -> list[str]:
    """One mode and policy: a title, the heads of the columns, a row for each choice."""
    title = f"externalTrafficPolicy {block.policy}, kube-proxy in {block.mode} mode"
    lines = [paint(title, TextStyle.STRONG) + _fate([row.client for row in block.rows])]
    for heads in zip(("load balancer", "sends to"), *map(_head, VANTAGE_POINTS), strict=True):
        lines.append(_line([(head, TextStyle.FAINT) for head in heads], _COLUMNS, paint))
    for choice in dict.fromkeys(row.choice for row in block.rows):
        rows = [row for row in block.rows if row.choice == choice]
        lines += [_line(cells, _COLUMNS, paint) for cells in _cells(rows, pod_node)]
    return [*lines, *_errors(block, paint), ""]


def via_table(blocks: Sequence[ResultBlock], pod_node: str, paint: Colourizer) -> list[str]:
    """netkat with a node as its next hop: a row for each mode and policy."""
    choices = list(dict.fromkeys(row.choice for block in blocks for row in block.rows))
    heads = ["", *(f"--via {_node(choice, pod_node)}" for choice in choices)]
    lines = [
        paint(f"netkat --via NODE, from {VIA_SOURCE}: past the load balancer", TextStyle.STRONG),
        _line([(head, TextStyle.FAINT) for head in heads], _VIA_COLUMNS, paint),
    ]
    for block in blocks:
        cells: list[Cell] = [(f"{block.policy}, {block.mode}", TextStyle.PLAIN)]
        for choice in choices:
            cells.append(_via_cell([row for row in block.rows if row.choice == choice]))
        lines.append(_line(cells, _VIA_COLUMNS, paint))
    asked = [row.via for block in blocks for row in block.rows]
    reached = sum(outcome.reached for outcome in asked)
    lines.append(f"The load balancer saw {reached} of these {len(asked)} probes.")
    return [*lines, ""]


def legend(blocks: Sequence[ResultBlock], seconds: float, paint: Colourizer) -> list[str]:
    """What the marks mean, and how often each path earned one."""
    return [
        paint("WRONG", TextStyle.WRONG) + "    is not what the client outside got.",
        "*        never got to the load balancer: the node's own kube-proxy rules took it straight",
        "         to the pod. Where the client gets through as well, it is right by luck.",
        paint("hairpin", TextStyle.ASIDE)
        + "  the load balancer sent the packet back to the node that it came from, which drops it.",
        "         This is no result for the Service: test from another node.",
        "",
        f"nc on the nodes  {_tally(blocks, 'kernel')}",
        f"netkat           {_tally(blocks, 'netkat')}",
        f"Every cell was measured in this run, in {seconds:.1f} s.",
    ]


def _head(seat: tuple[str, str]) -> tuple[str, str]:
    source_node, path = seat
    if source_node == "client":
        return "client", "outside"
    return ("nc" if path == "kernel" else path), f"on {source_node}"


def _node(node: str, pod_node: str) -> str:
    return f"{node} (pod)" if node == pod_node else f"{node} (no pod)"


def _fate(clients: Sequence[ProbeResult]) -> str:
    """Describe whether the pod saw the client's address, as far as it answered."""
    seen = {outcome.preserved for outcome in clients if outcome.answered}
    words = {(True,): "preserved", (False,): "rewritten", (False, True): "in part rewritten"}
    return f": client's address {words[tuple(sorted(seen))]}" if seen else ""


def _cells(rows: Sequence[Row], pod_node: str) -> list[list[Cell]]:
    """One line where all protocols got the same, else one for each."""
    lines = [[_cell(row, outcome) for outcome in row.outcomes] for row in rows]
    labels = [_node(rows[0].choice, pod_node)]
    if any(line != lines[0] for line in lines):
        labels += [f"  {SERVICE_PORTS[row.protocol]}/{row.protocol}" for row in rows[1:]]
    return [[(label, TextStyle.PLAIN), *line] for label, line in zip(labels, lines, strict=False)]


def _cell(row: Row, outcome: ProbeResult) -> Cell:
    text = (outcome.source or outcome.kind) + ("*" if outcome.captured else "")
    if row.wrong(outcome):
        return f"WRONG {text}", TextStyle.WRONG
    if outcome.answered:
        return text, TextStyle.PLAIN if outcome.captured else TextStyle.GOOD
    return text, TextStyle.FAINT if outcome.kind == "no answer" else TextStyle.ASIDE


def _via_cell(rows: Sequence[Row]) -> Cell:
    cells = {}
    for row in rows:
        text, style = _cell(row, row.via)
        if row.via.answered:
            text += " preserved" if row.via.preserved else " rewritten"
        cells[row.protocol] = (text, style)
    if not cells:
        return "not asked", TextStyle.FAINT
    if len(set(cells.values())) == 1:
        return next(iter(cells.values()))
    texts = ", ".join(f"{protocol} {text}" for protocol, (text, _) in cells.items())
    return texts, max(
        (style for _, style in cells.values()), key=lambda style: style is TextStyle.WRONG
    )


def _errors(block: ResultBlock, paint: Colourizer) -> list[str]:
    """The tools' own words where they did not come to the network, each once."""
    askers: dict[str, list[str]] = {}
    for row in block.rows:
        for outcome in (*row.outcomes, row.via):
            if outcome.kind == "error":
                askers.setdefault(outcome.words or "ended without a word", []).append(_who(outcome))
    return [
        paint(
            f"{who[0]}{f' and {len(who) - 1} more' if len(who) > 1 else ''}: {words}",
            TextStyle.WRONG,
        )
        for words, who in askers.items()
    ]


def _who(outcome: ProbeResult) -> str:
    probe = outcome.probe
    tool = "nc" if probe.path == "kernel" else "netkat"
    return (
        f"{probe.source_node}, {tool}{f' --via {probe.via}' if probe.via else ''}, {probe.protocol}"
    )


def _tally(blocks: Iterable[ResultBlock], path: str) -> str:
    judged = [
        (row, outcome)
        for block in blocks
        for row in block.rows
        for outcome in (*row.outcomes, row.via)
        if outcome.probe.path == path and outcome.probe.source_node != "client"
    ]
    counts = {
        "wrong": sum(row.wrong(outcome) for row, outcome in judged),
        "never got to the load balancer": sum(outcome.captured for _, outcome in judged),
        "hairpins": sum(outcome.kind == "hairpin" for _, outcome in judged),
        "errors": sum(outcome.kind == "error" for _, outcome in judged),
    }
    said = [f"{count} {what}" for what, count in counts.items() if count or what == "wrong"]
    return ", ".join([f"{len(judged)} probes", *said])


def _line(cells: Sequence[Cell], widths: Sequence[int], paint: Colourizer) -> str:
    pairs = zip(cells, widths, strict=False)
    return " ".join(paint(f"{text:<{width}}", style) for (text, style), width in pairs).rstrip()
