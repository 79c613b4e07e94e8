"""netkat why --incoming: what it says is what a real client gets, and nothing of it leaves."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from netkat.bpf.guard.tcx import FIRST, TcxLink, attached
from netkat.commands.demo.cluster import CLIENT, NODES, POD, SERVICE
from netkat.diagnose.why.packets import parse
from netkat.errors import BadArgument
from tests.helpers.guard_lab import PASS, witness
from tests.helpers.netns import Namespace, Pair, join, namespace
from tests.helpers.rules import nft, nft_chain, nft_table
from tests.helpers.why_lab import MODES, WhyCluster, examined

DOCUMENTATION = "203.0.113.7"


class Leaving:
    """What leaves a namespace by an interface: a real capture, from before to after."""

    def __init__(self, space: Namespace, interface: str = "eth0") -> None:
        self._socket = space.call(
            lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        )
        space.call(lambda: self._socket.bind((interface, 3)))
        self._socket.setblocking(False)

    def packets(self) -> list[str]:
        """Everything that was sent and is not ARP or ICMPv6 neighbour discovery."""
        found: list[str] = []
        while True:
            try:
                data, (_, _, kind, _, _) = self._socket.recvfrom(2048)
            except BlockingIOError:
                self._socket.close()
                return found
            headers = parse(data[14:]) if data[12:14] in (b"\x08\x00", b"\x86\xdd") else None
            if kind != socket.PACKET_OUTGOING or headers is None:
                continue
            # Neighbour discovery and MLD reports are the kernel's own.
            if not headers.flags.startswith("icmp 13") and headers.destination[:6] != "ff02::":
                found.append(f"{headers.source} > {headers.destination} {headers.flags}")


def ask(cluster: WhyCluster, node: str, port: int, protocol: str) -> bool:
    """Whether the external client gets an answer through this node."""
    cluster.send_to(node)
    kind = "SOCK_STREAM" if protocol == "tcp" else "SOCK_DGRAM"
    code = (
        "import socket\n"
        f"probe = socket.socket(socket.AF_INET, socket.{kind})\n"
        "probe.settimeout(0.7)\n"
        "try:\n"
        f" probe.connect(({SERVICE!r}, {port})); probe.send(b'who'); print(len(probe.recv(99)))\n"
        "except OSError: print(0)\n"
    )
    client = Namespace(cluster.namespaces["client"])
    return client.run_python(code).strip() != "0"


@pytest.mark.parametrize(("port", "protocol"), [(80, "tcp"), (53, "udp")])
@pytest.mark.parametrize("policy", ["Local", "Cluster"])
@pytest.mark.parametrize("mode", MODES)
def test_it_says_what_a_real_client_gets(
    cluster: WhyCluster, mode: str, policy: str, port: int, protocol: str
) -> None:
    cluster.load_mode(mode, policy)
    for node in NODES:
        answered = ask(cluster, node, port, protocol)
        space = cluster.node(node)
        for client in (DOCUMENTATION, CLIENT):
            watching = Leaving(space)
            result = examined(
                space, SERVICE, port, udp=protocol == "udp", incoming=True, client=client
            )
            assert watching.packets() == []
            where = f"{mode} {policy} {node} {client}"
            if policy == "Local" and node != "node2":
                assert (result.verdict, answered) == ("no_local_endpoint", False), where
            elif node == "node2":
                assert (result.verdict, result.exit_status, answered) == ("accepted", 0, True), (
                    where
                )
            else:
                assert (result.verdict, result.exit_status) == ("forwarded", 3), where
                assert POD in result.text
        assert space.run(["nft", "list", "tables"]).stdout.count("netkat") == 0


def test_the_service_is_named(cluster: WhyCluster) -> None:
    cluster.load_mode("nftables", "Local")
    result = examined(cluster.node("node1"), SERVICE, 80, incoming=True)
    assert result.text == (
        "Service default/web, port http has no endpoint on this node (externalTrafficPolicy: Local)"
    )
    assert (
        result.rules
        == (
            "ip kube-proxy: filter-forward > service-endpoints-check: drop"
            " [ip daddr . l4proto . th dport vmap @no-endpoint-services]",
        )
        or "vmap @no-endpoint-services" in result.rules[0]
    )
    report = str(result)
    assert f"{SERVICE}:80/tcp arriving at " in report
    assert f"(eth0) from {DOCUMENTATION} (an external client)" in report
    assert "not covered: the NIC, native XDP, and everything before this host" in report


@pytest.mark.parametrize("mode", MODES)
def test_a_node_port_on_the_nodes_own_address(cluster: WhyCluster, mode: str) -> None:
    cluster.load_mode(mode, "Local")
    with_pod = examined(cluster.node("node2"), NODES["node2"], 30080, incoming=True)
    without = examined(cluster.node("node1"), NODES["node1"], 30080, incoming=True)
    assert with_pod.verdict == "accepted"
    assert without.verdict == "no_local_endpoint"


@pytest.mark.parametrize("mode", MODES)
def test_source_ranges_are_of_the_client(cluster: WhyCluster, mode: str) -> None:
    cluster.load_mode(mode, "Cluster")
    cluster.limit_sources("node2", mode, "198.51.100.0/24")
    node = cluster.node("node2")
    outside = examined(node, SERVICE, 80, incoming=True)
    inside = examined(node, SERVICE, 80, incoming=True, client="198.51.100.9")
    assert outside.verdict == "outside_source_ranges"
    assert f"does not accept {DOCUMENTATION} (external client)" in outside.text
    assert inside.verdict == "accepted"


def test_no_endpoints_at_all(cluster: WhyCluster) -> None:
    cluster.load_mode("iptables-nft", "Cluster")
    cluster.without_endpoints("node1", "iptables-nft", "10.96.0.81")
    watching = Leaving(cluster.node("node1"))
    result = examined(cluster.node("node1"), "10.96.0.81", 80, incoming=True)
    assert result.verdict == "no_endpoints"
    assert watching.packets() == []


def test_a_forward_policy_that_drops(cluster: WhyCluster) -> None:
    cluster.load_mode("nftables", "Local")
    node = cluster.node("node2")
    node.run(["iptables-nft", "-P", "FORWARD", "DROP"])
    result = examined(node, SERVICE, 80, incoming=True)
    assert (result.verdict, result.rules) == (
        "blocked_forward",
        ("ip filter: FORWARD: policy drop",),
    )


@pytest.mark.parametrize(
    ("chain", "comment"),
    [
        ("cali-tw-cali1234567890", "cali:Xy7 Drop if no policies passed packet"),
        (
            "KUBE-POD-FW-ABCDEF",
            "rule to REJECT traffic destined for POD name:web",
        ),
    ],
)
def test_a_network_policy_is_named(cluster: WhyCluster, chain: str, comment: str) -> None:
    cluster.load_mode("iptables-nft", "Local")
    node = cluster.node("node2")
    rules = (
        f"*filter\n:{chain} - [0:0]\n-I FORWARD -o pod0 -j {chain}\n"
        f'-A {chain} -m comment --comment "{comment}" -j DROP\nCOMMIT\n'
    )
    node.run(["iptables-nft-restore", "--noflush"], input=rules)
    result = examined(node, SERVICE, 80, incoming=True)
    assert result.verdict == "blocked_policy"
    assert chain in result.rules[0] and comment in result.rules[0]


def test_an_answer_that_is_blocked(cluster: WhyCluster) -> None:
    cluster.load_mode("nftables", "Local")
    node = cluster.node("node2")
    rule = f'ip saddr {POD} drop comment "no answers"'
    nft(node, nft_table("ip f", nft_chain("c", "filter", "forward", "10", rule)))
    result = examined(node, SERVICE, 80, incoming=True)
    assert result.verdict == "reply_blocked"
    assert '"no answers"' in result.rules[0]


def test_an_answer_that_leaves_elsewhere(cluster: WhyCluster) -> None:
    cluster.load_mode("nftables", "Local")
    node = cluster.node("node2")
    with namespace("nkw", "other") as other:
        join(node, other, a_name="eth1")
        node.ip("link set eth1 up", "addr add 10.98.0.1/24 dev eth1")
        other.ip("link set eth0 up", "addr add 10.98.0.2/24 dev eth0")
        node.ip(f"route add {DOCUMENTATION}/32 via 10.98.0.2")
        watching = Leaving(node, "eth1")
        result = examined(node, SERVICE, 80, incoming=True, interface="eth0")
        assert watching.packets() == []
    assert result.verdict == "reply_elsewhere"
    assert "leaves by eth1, not by eth0" in result.text


def test_an_address_of_another_machine(cluster: WhyCluster) -> None:
    cluster.load_mode("nftables", "Local")
    watching = Leaving(cluster.node("node1"))
    result = examined(cluster.node("node1"), "10.111.111.130", 80, incoming=True)
    assert (result.verdict, result.exit_status) == ("not_this_node", 3)
    assert "would be forwarded by eth0 to 172.30.0.1" in result.text
    assert watching.packets() == []


def test_without_forwarding_the_kernel_drops_it(cluster: WhyCluster) -> None:
    cluster.load_mode("nftables", "Local")
    node = cluster.node("node2")
    node.sysctl("net.ipv4.ip_forward", 0)
    try:
        result = examined(node, SERVICE, 80, incoming=True)
    finally:
        node.sysctl("net.ipv4.ip_forward", 1)
    assert result.verdict == "kernel_drop"
    assert "net.ipv4.ip_forward is 0" in result.rules


def test_a_pod_that_does_not_answer(cluster: WhyCluster) -> None:
    cluster.load_mode("nftables", "Local")
    drop = nft_table("ip t", nft_chain("c", "filter", "input", "0", "tcp dport 8080 drop"))
    nft(cluster.node("pod"), drop)
    result = examined(cluster.node("node2"), SERVICE, 80, incoming=True)
    assert result.verdict == "silent"
    assert result.text == "delivered to 10.244.2.2:8080 by pod0, which does not answer"


def test_nothing_listens_in_the_pod_or_here(cluster: WhyCluster) -> None:
    cluster.load_mode("nftables", "Local")
    node = cluster.node("node2")
    pod = examined(node, POD, 9, incoming=True)
    here = examined(node, NODES["node2"], 9, incoming=True)
    datagram = examined(node, NODES["node2"], 53, incoming=True, udp=True)
    assert [result.verdict for result in (pod, here, datagram)] == ["nothing_listens"] * 3
    assert pod.text == f"the pod answers with RST: nothing listens on {POD}:9"
    assert here.text.startswith("this host answers with RST")
    assert datagram.text.startswith("this host answers with ICMP port unreachable")


@pytest.mark.parametrize("version", [4, 6])
def test_a_process_of_this_host(pair: Pair, version: int) -> None:
    host, peer = pair.host, pair.peer
    host.ip(f"route add default via {peer.ipv4}", f"route add default via {peer.ipv6}")
    host.popen(
        [sys.executable, "-m", "http.server", "8000", "--bind", "::"],
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    host.wait_served(8000)
    address = host.address(version)
    watching = Leaving(host)
    assert examined(host, address, 8000, incoming=True).verdict == "accepted"
    tool = "iptables-nft" if version == 4 else "ip6tables-nft"
    host.run([tool, "-A", "INPUT", "-p", "tcp", "--dport", "8000", "-j", "REJECT"])
    blocked = examined(host, address, 8000, incoming=True)
    assert blocked.verdict == "blocked_input"
    assert "INPUT: reject" in blocked.rules[0]
    assert watching.packets() == []


def test_strict_reverse_path_filter(pair: Pair) -> None:
    host = pair.host
    for name in ("all", "eth0"):
        host.sysctl(f"net.ipv4.conf.{name}.rp_filter", 1)
    host.ip("route add 203.0.113.0/24 dev lo")
    result = examined(host, host.ipv4, 8000, incoming=True, interface="eth0")
    assert result.verdict == "kernel_drop"
    assert "IP_RPFILTER" in result.text
    assert "route back to 203.0.113.7 is by lo, not eth0" in result.rules[0]


def test_beside_another_program_nothing_is_injected(pair: Pair) -> None:
    host = pair.host
    index = host.call(lambda: socket.if_nametoindex("eth0"))
    with (
        witness(PASS, "cil_from_netdev") as theirs,
        closing(host.call(lambda: TcxLink(theirs.program.fd, index, FIRST))),
    ):
        result = examined(host, host.ipv4, 8000, incoming=True, interface="eth0")
    assert (result.verdict, result.exit_status) == ("undecided", 3)
    assert "nothing was injected" in result.text
    assert "cil_from_netdev" in result.rules[0]
    assert result.evidence.steps == ()


def test_a_client_that_is_this_host_or_of_the_other_family(pair: Pair) -> None:
    for client in (pair.host.ipv4, "2001:db8::9"):
        with pytest.raises(BadArgument, match="client"):
            examined(pair.host, pair.host.ipv4, 80, incoming=True, client=client, interface="eth0")


def test_the_opened_connection_is_ended(cluster: WhyCluster) -> None:
    cluster.load_mode("nftables", "Local")
    node = cluster.node("node2")
    node.run(["conntrack", "-F"])
    assert examined(node, SERVICE, 80, incoming=True).verdict == "accepted"
    entries = node.run(["conntrack", "-L"]).stdout
    assert "SYN_RECV" not in entries
    half_open = cluster.node("pod").run(["ss", "-Htan", "state", "syn-recv"]).stdout
    assert half_open == ""


KILLING = """
import os, random, signal, time
from netkat.diagnose.why import receiver, sender
from netkat.diagnose.why.api import why

chance = random.Random(11)
for _ in range({count}):
    child = os.fork()
    if not child:
        why({host!r}, 80, incoming={incoming}, timeout=0.5)
        os._exit(0)
    time.sleep(chance.uniform(0, 0.04))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("incoming", [True, False], ids=["receiver", "sender"])
def test_sigkill_at_any_moment_leaves_nothing(
    cluster: WhyCluster, incoming: bool, count: int
) -> None:
    cluster.load_mode("nftables", "Local")
    cluster.send_to("node1")
    node = cluster.node("node2")
    index = node.call(lambda: socket.if_nametoindex("eth0"))
    watching = Leaving(node)
    code = KILLING.format(count=count, host=SERVICE, incoming=incoming)
    node.run_python(code, timeout=110)
    wait_for(lambda: "netkat" not in node.run(["nft", "list", "tables"]).stdout)
    wait_for(lambda: node.call(lambda: attached(index)) == [])
    left = set(watching.packets())
    if incoming:
        # A pod goes on with its SYN-ACK for a minute, longer than conntrack translates it.
        assert left <= {f"{end} > {DOCUMENTATION} SA" for end in (SERVICE, POD)}, left


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_evidence_of_both_directions_is_json(cluster: WhyCluster) -> None:
    cluster.load_mode("nftables", "Local")
    result = examined(cluster.node("node2"), SERVICE, 80, incoming=True)
    hooks = [step["hook"] for step in json.loads(result.evidence.to_json())["steps"]]
    assert hooks.index("forward") < len(hooks) - hooks[::-1].index("forward")
