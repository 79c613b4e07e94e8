"""The demo for real: its cells are what the cluster does, and nothing of it stays."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from netkat.commands import demo
from netkat.commands.demo import namespaces, probes
from netkat.commands.demo.cluster import Cluster
from netkat.commands.demo.measure import ResultBlock, measure
from tests.helpers.schemas import parsed

ROOT = Path(__file__).resolve().parents[2]
N1, N3, CLIENT, BRIDGE = "172.30.0.11", "172.30.0.13", "172.31.0.10", "10.244.2.1"
NEVER_A_PID = 4194305  # beyond the largest pid_max of 64-bit Linux

# What such a cluster does, measured without netkat's help: the outside client, nc on the nodes
# (every answer captured by the node's own rules), and raw packets past the rules.
# (policy, choice): client, nc node1, nc node3, netkat node1, netkat node3, node3 --via choice
TRUTH = {
    ("Cluster", "node1"): (N1, f"{N1}*", f"{N3}*", "hairpin", N1, N1),
    ("Cluster", "node2"): (BRIDGE, f"{N1}*", f"{N3}*", BRIDGE, BRIDGE, BRIDGE),
    ("Local", "node1"): ("no answer", f"!{N1}*", f"!{N3}*", "hairpin", "no answer", "no answer"),
    ("Local", "node2"): (CLIENT, f"{N1}*", f"{N3}*", N1, N3, N3),
}


def marked(cell: dict[str, Any]) -> str:
    """! wrong, * captured, as in TRUTH."""
    text = str(cell["source"] or cell["outcome"])
    return ("!" if cell["wrong"] else "") + text + ("*" if cell["captured"] else "")


def cells(
    blocks: list[ResultBlock], protocol: str = "tcp"
) -> dict[tuple[str, str], tuple[str, ...]]:
    """As TRUTH, out of blocks of one mode."""
    return {
        (block.policy, row.choice): tuple(
            ("!" if row.wrong(outcome) else "")
            + (outcome.source or outcome.kind)
            + ("*" if outcome.captured else "")
            for outcome in (*row.outcomes, row.via)
        )
        for block in blocks
        for row in block.rows
        if row.protocol == protocol
    }


def names_of(pid: int) -> list[str]:
    return [name for name in namespaces._names() if name.startswith(f"kp{pid}-")]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with closing(Cluster()) as built:
        built.build()
        yield built


def test_every_cell_is_what_the_cluster_does() -> None:
    out = io.StringIO()
    begun = time.monotonic()
    code = demo.run(out=out, json=True)
    took = time.monotonic() - begun
    data = parsed("demo", out.getvalue())
    measured: dict[tuple[str, ...], list[str]] = {}
    for cell in data["cells"]:
        key = (cell["mode"], cell["protocol"], cell["policy"], cell["load_balancer_sends_to"])
        measured.setdefault(key, []).append(marked(cell))
    expected = {
        (mode, protocol, *situation): list(truth)
        for mode in ("iptables", "nftables")
        for protocol in ("tcp", "udp")
        for situation, truth in TRUTH.items()
    }
    assert measured == expected
    assert code == 0
    assert took < 30
    assert names_of(os.getpid()) == []


def test_only_what_bypasses_the_rules_reaches_the_wire(cluster: Cluster) -> None:
    (block,) = measure(cluster, modes=["iptables"], policies=["Cluster"])
    for row in block.rows:
        for outcome in row.outcomes:
            past = outcome.probe.source_node == "client" or outcome.probe.path == "netkat"
            assert outcome.reached == past, outcome
        assert not row.via.reached


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_datagrams_go_the_same_ways(cluster: Cluster, mode: str) -> None:
    blocks = list(measure(cluster, modes=[mode], choices=["node2"], protocols=["udp"]))
    assert cells(blocks, "udp") == {key: truth for key, truth in TRUTH.items() if key[1] == "node2"}


def test_cells_follow_the_load_balancer(cluster: Cluster) -> None:
    blocks = list(measure(cluster, modes=["nftables"], policies=["Local"], choices=["node3"]))
    assert cells(blocks) == {
        ("Local", "node3"): (
            "no answer",
            f"!{N1}*",
            f"!{N3}*",
            "no answer",
            "hairpin",
            "error",  # --via an address of one's own
        )
    }


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_cells_follow_the_pod(cluster: Cluster, mode: str) -> None:
    before = cells(list(measure(cluster, modes=[mode], policies=["Local"])))
    cluster.move_pod("node1")
    after = cells(list(measure(cluster, modes=[mode], policies=["Local"])))
    assert before == {key: TRUTH[key] for key in before}
    assert after["Local", "node2"][0] == "no answer"
    assert after["Local", "node2"][3:] == ("no answer", "no answer", "no answer")
    assert after["Local", "node1"] == (CLIENT, f"{BRIDGE}*", f"{N3}*", "hairpin", N3, N3)
    assert all(cell.startswith("!") for cell in after["Local", "node2"][1:3])


def test_a_pod_that_is_gone_answers_nobody(cluster: Cluster) -> None:
    assert cluster._server is not None
    cluster._server.close()
    blocks = list(measure(cluster, modes=["nftables"], policies=["Cluster"], choices=["node2"]))
    assert set(cells(blocks)["Cluster", "node2"]) == {"refused"}


def test_a_netkat_that_is_caught_by_the_rules_is_not_sold_as_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(probes.COMMANDS, "netkat", probes.nc_command)
    out = io.StringIO()
    assert demo.run(out=out) == 1
    table = out.getvalue()
    assert f"WRONG {N1}*  WRONG {N3}*  WRONG {N1}* WRONG {N3}*" in table.replace("   ", "  ")


def test_a_netkat_that_cannot_start_is_an_error_in_its_own_words(
    monkeypatch: pytest.MonkeyPatch, cluster: Cluster
) -> None:
    def broken(probe: probes.Probe, port: int) -> list[str]:
        return ["sh", "-c", "echo 'netkat: the library is missing' >&2; exit 2"]

    monkeypatch.setitem(probes.COMMANDS, "netkat", broken)
    (block,) = measure(cluster, modes=["nftables"], policies=["Local"], choices=["node2"])
    netkat = [outcome for outcome in block.rows[0].outcomes if outcome.probe.path == "netkat"]
    assert {(outcome.kind, outcome.words) for outcome in netkat} == {
        ("error", "netkat: the library is missing")
    }


def started() -> subprocess.Popen[str]:
    """The demo in a process of its own, in the middle of its work."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; from netkat.commands.demo import run; sys.exit(run())"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "10.111.111.129" in process.stdout.readline()
    return process


def descendants(pid: int) -> set[int]:
    found: set[int] = set()
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            found |= {child, *descendants(child)}
    return found


def wait_until_gone(pids: set[int]) -> None:
    end = time.monotonic() + 5
    while alive := {pid for pid in pids if Path(f"/proc/{pid}").exists()}:
        assert time.monotonic() < end, alive
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_takes_everything_down(number: signal.Signals) -> None:
    with started() as process:
        helpers = descendants(process.pid)
        assert names_of(process.pid)
        process.send_signal(number)
        process.send_signal(number)  # an impatient second one does not stop the tear-down
        _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (128 + number, "")
    assert names_of(process.pid) == []
    assert helpers
    wait_until_gone(helpers)


def test_after_sigkill_the_next_demo_removes_what_was_left() -> None:
    with started() as process:
        helpers = descendants(process.pid)
        process.kill()
        process.communicate(timeout=10)
    assert helpers
    wait_until_gone(helpers)
    left = names_of(process.pid)
    assert len(left) == 7
    foreign = ["kp-node1", f"kp{os.getppid()}-node1", f"kp{NEVER_A_PID}-Node_1"]
    for name in foreign:
        subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        removed = namespaces.remove_leftovers()
        assert set(left) <= set(removed)
        assert set(foreign) <= set(namespaces._names())
    finally:
        for name in foreign:
            subprocess.run(["ip", "netns", "del", name], check=True)
    assert names_of(process.pid) == []


def test_a_demo_in_another_pid_namespace_is_left_alone() -> None:
    name = f"kp{NEVER_A_PID}-switch"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        with subprocess.Popen(
            ["flock", f"/run/netns/{name}", "cat"], stdin=subprocess.PIPE
        ) as lock:
            while not namespaces._locked(name):
                time.sleep(0.01)
            assert name not in namespaces.remove_leftovers()
            assert lock.stdin is not None
            lock.stdin.close()
        assert name in namespaces.remove_leftovers()
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)


def test_a_reader_that_had_enough_ends_it_quietly() -> None:
    with started() as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 128 + signal.SIGPIPE
    assert names_of(process.pid) == []
