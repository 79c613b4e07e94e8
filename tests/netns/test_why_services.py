"""netkat why on nodes of a cluster, with kube-proxy's rules in each of its modes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from netkat.commands.demo.cluster import SERVICE
from tests.helpers.why_lab import MODES, WhyCluster, examined

CLUSTER_IP = "10.96.0.80"
EMPTY = "10.96.0.81"


@pytest.mark.parametrize("mode", MODES)
def test_a_load_balancer_address_is_captured(cluster: WhyCluster, mode: str) -> None:
    cluster.load_mode(mode, "Local")
    cluster.send_to("node1")
    result = examined(cluster.node("node3"), SERVICE, 80)
    assert result.verdict == "captured_nat"
    assert result.exit_status == 1
    assert result.rules[0] == f"Service default/web, port http, by kube-proxy ({mode})"
    assert "DNAT" in result.rules[1]
    report = str(result)
    assert "to 10.244.2.2:8080; no SYN to 10.111.111.129 left this host" in report
    assert "bypass   no answer to 1 SYN by 172.30.0.1" in report
    assert (
        f"next: on the node that receives this traffic: netkat why --incoming {SERVICE} 80"
        in report
    )


@pytest.mark.parametrize("mode", MODES)
def test_datagrams_are_captured(cluster: WhyCluster, mode: str) -> None:
    cluster.load_mode(mode, "Local")
    cluster.send_to("node1")
    result = examined(cluster.node("node3"), SERVICE, 53, udp=True)
    assert result.verdict == "captured_nat"
    assert result.rules[0] == f"Service default/web, port dns, by kube-proxy ({mode})"
    assert "kernel   answered in" in str(result)


@pytest.mark.parametrize("mode", MODES)
def test_both_paths_answer_by_different_ways(cluster: WhyCluster, mode: str) -> None:
    cluster.load_mode(mode, "Cluster")
    cluster.send_to("node2")
    result = examined(cluster.node("node1"), SERVICE, 80)
    assert result.verdict == "different_servers"
    assert result.exit_status == 1


def test_a_hairpin_without_rules(cluster: WhyCluster) -> None:
    cluster.send_to("node1")
    result = examined(cluster.node("node1"), SERVICE, 80)
    assert result.verdict == "hairpin"
    assert result.exit_status == 1


def test_a_captured_connection_is_nearer_than_the_hairpin(cluster: WhyCluster) -> None:
    cluster.load_mode("nftables", "Cluster")
    cluster.send_to("node1")
    result = examined(cluster.node("node1"), SERVICE, 80)
    assert [finding.verdict.value for finding in result.findings] == ["captured_nat", "hairpin"]


@pytest.mark.parametrize("mode", MODES)
def test_a_cluster_ip_is_no_fault(cluster: WhyCluster, mode: str) -> None:
    cluster.load_mode(mode, "Cluster")
    result = examined(cluster.node("node3"), CLUSTER_IP, 80)
    assert result.verdict == "cluster_internal"
    assert result.exit_status == 0
    assert "10.244.2.2:8080" in result.text


@pytest.mark.parametrize("mode", MODES)
def test_a_port_that_a_cluster_ip_does_not_have(cluster: WhyCluster, mode: str) -> None:
    cluster.load_mode(mode, "Cluster")
    result = examined(cluster.node("node3"), CLUSTER_IP, 81)
    assert result.verdict == "no_rule"
    assert result.exit_status == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_service_without_endpoints(cluster: WhyCluster, mode: str) -> None:
    cluster.load_mode(mode, "Cluster")
    cluster.without_endpoints("node3", mode, EMPTY)
    result = examined(cluster.node("node3"), EMPTY, 80)
    assert result.verdict == "no_endpoints"
    assert result.text == "Service default/empty, port http has no endpoints"


@pytest.mark.parametrize("mode", MODES)
def test_a_source_outside_the_ranges(cluster: WhyCluster, mode: str) -> None:
    cluster.load_mode(mode, "Cluster")
    cluster.limit_sources("node3", mode, "198.51.100.0/24")
    result = examined(cluster.node("node3"), SERVICE, 80)
    assert result.verdict == "outside_source_ranges"
    assert (
        "Service default/web, port http does not accept 172.30.0.13 (node address)" in result.text
    )


@pytest.mark.parametrize("mode", MODES)
def test_an_address_of_this_host(cluster: WhyCluster, mode: str) -> None:
    cluster.load_mode(mode, "Cluster")
    result = examined(cluster.node("node1"), "172.30.0.11", 30080)
    assert result.verdict == "own_address"
    assert result.exit_status == 3
    assert result.next.endswith("netkat why --incoming 172.30.0.11 30080")


def test_an_endpoint_that_refuses(cluster: WhyCluster) -> None:
    cluster.load_mode("nftables", "Cluster")
    cluster.send_to("node2")
    cluster.node("pod").run(["nft", "-f", "-"], input=REFUSE)
    try:
        result = examined(cluster.node("node3"), CLUSTER_IP, 80)
    finally:
        cluster.node("pod").run(["nft", "flush", "ruleset"])
    assert result.verdict == "refused"
    assert "the endpoint 10.244.2.2:8080 refused" in result.text


REFUSE = (
    "table ip t {\nchain c {\ntype filter hook input priority 0;\n"
    "tcp dport 8080 reject with tcp reset\n}\n}"
)


def test_a_pod_meets_the_rules_of_its_node_on_both_paths(cluster: WhyCluster) -> None:
    cluster.load_mode("nftables", "Cluster")
    pod = cluster.node("pod")
    # Not from inside: the command itself would be among them.
    pid = subprocess.check_output(["ip", "netns", "pids", pod.name], text=True).split()[0]
    result = examined(pod, SERVICE, 80, netns=f"/proc/{pid}/ns/net")
    assert (result.verdict, result.exit_status) == ("same", 0)
    assert "(eth0, 10.244.2.2, a pod address)" in str(result)
    assert any("this process's cgroup" in what for what in result.evidence.unchecked)


def test_stale_conntrack_entries(cluster: WhyCluster) -> None:
    cluster.load_mode("nftables", "Cluster")
    node = cluster.node("node3")
    entry = f"-p udp -s 10.244.1.7 -d {CLUSTER_IP} --sport 4444 --dport 53 -t 60"
    old = "-r 10.244.9.9 -q 10.244.1.7 --reply-port-src 8053 --reply-port-dst 4444"
    node.run(["conntrack", "-I", *entry.split(), *old.split()])
    result = examined(node, CLUSTER_IP, 53, udp=True)
    assert [finding.verdict.value for finding in result.findings] == [
        "stale_conntrack",
        "cluster_internal",
    ]
    assert "is sent to 10.244.9.9:8053" in result.rules[0]


def test_kube_proxy_runs_and_its_rules_are_gone(cluster: WhyCluster, tmp_path: Path) -> None:
    named = tmp_path / "kube-proxy"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", named)
    cluster.send_to("node1")
    node = cluster.node("node3")
    child = node.popen([named, "60"])
    try:
        result = examined(node, CLUSTER_IP, 80)
    finally:
        child.kill()
        child.wait(5)
    assert result.verdict == "kube_proxy_rules_missing"
