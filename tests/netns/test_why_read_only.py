"""netkat why --read-only: look-ups and traces agree on kube-proxy's rules; nothing is written."""

from __future__ import annotations

import pytest

from netkat.commands.demo.cluster import NODES, SERVICE
from tests.helpers.netns import Pair
from tests.helpers.rules import nft
from tests.helpers.why_lab import MODES, WhyCluster, examined

EMPTY = "10.96.0.81"
CAPTURED = {"captured_nat", "different_servers"}


@pytest.mark.parametrize("policy", ["Local", "Cluster"])
@pytest.mark.parametrize("mode", MODES)
def test_look_ups_and_traces_agree(cluster: WhyCluster, mode: str, policy: str) -> None:
    cluster.load_mode(mode, policy)
    cluster.without_endpoints("node1", mode, EMPTY)
    node = cluster.node("node1")
    for host, port, udp in (
        (SERVICE, 80, False),
        (SERVICE, 53, True),
        ("10.96.0.80", 80, False),
        (EMPTY, 80, False),
        (NODES["node1"], 30080, False),
    ):
        looked_up = examined(node, host, port, udp=udp, read_only=True)
        traced = examined(node, host, port, udp=udp)
        where = f"{mode} {policy} {host} {port}"
        if traced.verdict in CAPTURED:
            assert looked_up.verdict == "captured_nat", where
        else:
            assert looked_up.verdict == traced.verdict, where
        found, known = looked_up.evidence.service, traced.evidence.service
        assert (found.name, found.port, found.mode) == (known.name, known.port, mode), where
        if found.name and host != EMPTY:
            assert found.endpoints == ("10.244.2.2:8080" if port != 53 else "10.244.2.2:8053",)


@pytest.mark.parametrize("mode", MODES)
def test_incoming_without_a_local_endpoint(cluster: WhyCluster, mode: str) -> None:
    cluster.load_mode(mode, "Local")
    without = examined(cluster.node("node1"), SERVICE, 80, incoming=True, read_only=True)
    with_pod = examined(cluster.node("node2"), SERVICE, 80, incoming=True, read_only=True)
    assert (without.verdict, without.exit_status) == ("no_local_endpoint", 1)
    assert (with_pod.verdict, with_pod.exit_status) == ("undecided", 3)


def test_it_writes_and_sends_nothing(pair: Pair) -> None:
    nft(
        pair.host,
        "table ip x {\nchain out {\ntype filter hook output priority 0; counter drop\n}\n}",
    )
    before = pair.host.run(["nft", "list", "ruleset"]).stdout
    monitor = pair.host.popen(["nft", "monitor"], stdout=-1, text=True)
    result = examined(pair.host, pair.peer.ipv4, 80, read_only=True)
    assert (result.verdict, result.exit_status) == ("undecided", 3)
    assert (result.evidence.steps, result.evidence.frames) == ((), ())
    assert pair.host.run(["nft", "list", "ruleset"]).stdout == before
    monitor.terminate()
    assert monitor.stdout is not None
    assert monitor.stdout.read() == ""
