"""netkat why against firewalls, peers and paths of every kind, each made for real."""

from __future__ import annotations

import subprocess
import sys

import pytest

from netkat.diagnose.why.api import why
from netkat.errors import BadArgument
from tests.helpers.netns import ROOT, Pair, join, namespace
from tests.helpers.rules import load_nft_inet, nft, nft_chain, nft_table
from tests.helpers.socket_lb import run_inside, socket_lb
from tests.helpers.why_lab import examined

PORT = 8000


@pytest.fixture
def served(pair: Pair) -> Pair:
    """The peer listens, on both families."""
    command = [sys.executable, "-m", "http.server", str(PORT), "--bind", "::"]
    pair.peer.popen(command, stderr=subprocess.DEVNULL, cwd="/")
    pair.peer.wait_served(PORT)
    return pair


@pytest.mark.parametrize("version", [4, 6])
def test_nothing_in_between_is_the_same(served: Pair, version: int) -> None:
    result = examined(served.host, served.peer.address(version), PORT)
    assert result.verdict == "same"
    assert result.exit_status == 0
    assert result.evidence.unchecked == ()
    report = str(result).splitlines()
    assert report[1].startswith("  kernel   connected in ")
    assert report[2].startswith("  bypass   connected in ") and served.peer.mac in report[2]
    assert served.host.run(["nft", "list", "ruleset"]).stdout == ""


def drop(tool: str, chain: str, *match: str) -> list[str]:
    return [tool, "-A", chain, *match, "-m", "comment", "--comment", "no way", "-j", "DROP"]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_a_drop_on_the_way_out_is_named(served: Pair, backend: str, version: int) -> None:
    tool = f"{'ip' if version == 4 else 'ip6'}tables-{backend}"
    match = ("-p", "tcp", "--dport", str(PORT))
    served.host.run(drop(tool, "OUTPUT", *match))
    result = examined(served.host, served.peer.address(version), PORT)
    assert result.verdict == "blocked_output"
    assert result.exit_status == 1
    (line,) = result.rules
    start = f"{'ip' if version == 4 else 'ip6'} filter: OUTPUT: drop"
    wanted = start if backend == "nft" else "iptables-legacy filter: OUTPUT: DROP"
    assert line.startswith(f'{wanted} "no way" [')
    assert str(PORT) in line


@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_a_drop_of_the_answer_is_named(served: Pair, backend: str) -> None:
    match = ("-p", "tcp", "--sport", str(PORT))
    served.host.run(drop(f"iptables-{backend}", "INPUT", *match))
    result = examined(served.host, served.peer.ipv4, PORT)
    assert result.verdict == "blocked_input"
    assert "INPUT" in result.rules[0] and '"no way"' in result.rules[0]


def test_a_reject_in_an_nft_firewall_is_named(served: Pair) -> None:
    chains = [
        f'chain closed {{\nip daddr {served.peer.ipv4} reject comment "office hours"\n}}',
        nft_chain("out", "filter", "output", "0", f"tcp dport {PORT} jump closed"),
    ]
    nft(served.host, nft_table("inet office", *chains))
    result = examined(served.host, served.peer.ipv4, PORT)
    assert result.verdict == "blocked_output"
    assert result.rules == (
        f'inet office: out > closed: reject "office hours" [ip daddr {served.peer.ipv4} reject]',
    )


def test_a_policy_that_drops_is_named(served: Pair) -> None:
    chain = "chain out {\ntype filter hook output priority 0; policy drop;\n}"
    nft(served.host, nft_table("ip strict", chain))
    result = examined(served.host, served.peer.ipv4, PORT)
    assert (result.verdict, result.rules) == ("blocked_output", ("ip strict: out: policy drop",))


def test_a_drop_before_the_trace_begins_is_not_mistaken(served: Pair) -> None:
    """Its table is at the same priority as netkat's own: whichever is first, it is blocked."""
    load_nft_inet(served.host)
    result = examined(served.host, served.peer.ipv4, PORT)
    assert result.verdict in ("blocked_output", "undecided")
    assert result.exit_status in (1, 3)


def test_a_closed_port_is_refused(pair: Pair) -> None:
    result = examined(pair.host, pair.peer.ipv4, 81)
    assert (result.verdict, result.exit_status) == ("refused", 1)


def test_a_silent_peer(served: Pair) -> None:
    served.peer.run(["iptables", "-A", "INPUT", "-p", "tcp", "-j", "DROP"])
    result = examined(served.host, served.peer.ipv4, PORT)
    assert (result.verdict, result.exit_status) == ("silent", 1)
    assert "bypass   no answer to 1 SYN" in str(result)


def test_a_silent_peer_by_udp_is_open(pair: Pair) -> None:
    pair.peer.run(["iptables", "-A", "INPUT", "-p", "udp", "-j", "DROP"])
    result = examined(pair.host, pair.peer.ipv4, 7, udp=True, send=b"hello")
    assert (result.verdict, result.exit_status) == ("silent", 3)


def test_nobody_has_the_address(pair: Pair) -> None:
    result = examined(pair.host, "10.99.0.77", PORT)
    assert result.verdict == "silent"
    assert "did not answer ARP" in result.text


def test_a_router_that_rejects_is_named(served: Pair) -> None:
    served.peer.sysctl("net.ipv4.ip_forward", 1)
    served.host.ip(f"route add default via {served.peer.ipv4}")
    served.peer.ip("route add prohibit 198.51.100.0/24")
    result = examined(served.host, "198.51.100.7", PORT)
    assert result.verdict == "rejected"
    assert served.peer.ipv4 in result.text


def test_an_address_that_ipvs_has_made_local(served: Pair) -> None:
    address = "203.0.113.5"
    served.peer.ip(f"addr add {address}/32 dev eth0")
    served.host.ip(
        f"route add default via {served.peer.ipv4}",
        "link add kube-ipvs0 type bridge",
        f"addr add {address}/32 dev kube-ipvs0",
        "link set kube-ipvs0 up",
    )
    result = examined(served.host, address, PORT)
    assert (result.verdict, result.exit_status) == ("captured_nat", 1)
    assert result.text == (
        "this host holds the address itself, on kube-ipvs0: the kernel's connection"
        " ended (refused) here; past this host the address answers"
    )


def test_no_route(pair: Pair) -> None:
    result = examined(pair.host, "192.0.2.1", PORT)
    assert result.verdict == "no_route"
    assert result.exit_status == 1


def test_reverse_path_filter_is_a_drop_by_the_kernel(served: Pair) -> None:
    host, peer = served.host, served.peer
    with namespace("nkw", "other") as other:
        join(host, other, a_name="eth1")
        host.ip("link set eth1 up", "addr add 10.98.0.1/24 dev eth1")
        other.ip("link set eth0 up", "addr add 10.98.0.2/24 dev eth0")
        for name in ("all", "eth0"):
            host.sysctl(f"net.ipv4.conf.{name}.rp_filter", 1)
        # The way out is by eth0, and the way back would be by eth1.
        host.run(f"iptables -t mangle -A OUTPUT -d {peer.ipv4} -j MARK --set-mark 1".split())
        host.ip(
            "rule add fwmark 1 lookup 100",
            f"route add {peer.ipv4}/32 dev eth0 table 100",
            f"route add {peer.ipv4}/32 via 10.98.0.2 dev eth1 src {host.ipv4}",
        )
        result = examined(host, peer.ipv4, PORT)
    assert result.verdict == "kernel_drop"
    assert "IP_RPFILTER" in result.text
    assert result.rules == ("rp_filter is strict: the answer came by eth0, the route is by eth1",)


def test_results_that_differ_from_run_to_run(served: Pair) -> None:
    rule = f"tcp dport {PORT} tcp flags syn / syn,ack numgen inc mod 3 0 drop"
    nft(served.peer, nft_table("ip t", nft_chain("c", "filter", "input", "0", rule)))
    result = examined(served.host, served.peer.ipv4, PORT, count=4, timeout=0.3)
    assert (result.verdict, result.exit_status) == ("intermittent", 1)
    assert len(result.evidence.runs) == 4


def test_without_a_packet_socket_it_is_undecided(served: Pair) -> None:
    code = (
        "from netkat.diagnose.why.api import why\n"
        f"result = why({served.peer.ipv4!r}, {PORT}, timeout=0.5)\n"
        "print(result.verdict, result.exit_status, result.evidence.unchecked[0])\n"
    )
    lost = "-net_raw"
    command = ["setpriv", "--inh-caps", lost, "--bounding-set", lost, sys.executable, "-c", code]
    done = served.host.run(command, cwd=ROOT)
    assert done.stdout == "undecided 3 packets: [Errno 1] Operation not permitted\n"


def test_a_socket_hook_is_found(served: Pair) -> None:
    there = served.peer.ip_address(4)
    code = (
        "from netkat.diagnose.why.api import why\n"
        "result = why('10.99.0.50', 80, timeout=0.5)\n"
        "print(result.verdict, result.exit_status, result.text, *result.rules)\n"
    )
    with socket_lb(there, served.peer.ip_address(6), PORT) as cgroup:  # type: ignore[arg-type]
        done = run_inside(cgroup, served.host, [sys.executable, "-c", code], "")
    assert done.stderr == ""
    assert done.stdout.startswith("captured_socket 1 a program redirected the kernel's socket to ")
    assert f"{served.peer.ipv4}:{PORT}" in done.stdout


def test_a_rule_set_that_changes_is_noticed(served: Pair) -> None:
    host = served.host
    loop = "while :; do nft add table ip churn; nft delete table ip churn; done"
    child = host.popen(["sh", "-c", loop], stderr=subprocess.DEVNULL)
    try:
        results = [examined(host, served.peer.ipv4, PORT) for _ in range(3)]
    finally:
        child.kill()
        child.wait(5)
    assert {result.verdict for result in results} == {"same"}
    assert any(result.evidence.rules_changed for result in results)
    assert "the rule set changed during the probe" in "".join(map(str, results))


def test_an_unknown_udp_port_requires_a_payload(pair: Pair) -> None:
    with pytest.raises(BadArgument, match="no harmless datagram is known for port 9999"):
        why(pair.peer.ipv4, 9999, udp=True)


SERVICE6 = """
table ip6 kube-proxy {
    set cluster-ips { type ipv6_addr; elements = { fd00:10:96::50 }; }
    map service-ips {
        type ipv6_addr . inet_proto . inet_service : verdict
        elements = { fd00:10:96::50 . tcp . 80 : goto service-AAAAAAAA-shop/web/tcp/http }
    }
    map no-endpoint-services { type ipv6_addr . inet_proto . inet_service : verdict; }
    map firewall-ips { type ipv6_addr . inet_proto . inet_service : verdict; }
    chain endpoint-BBBBBBBB-shop/web/tcp/http__END/8000 {
        meta l4proto tcp dnat to [PEER]:8000
    }
    chain service-AAAAAAAA-shop/web/tcp/http {
        numgen random mod 1 vmap { 0 : goto endpoint-BBBBBBBB-shop/web/tcp/http__END/8000 }
    }
    chain services { ip6 daddr . meta l4proto . th dport vmap @service-ips; }
    chain nat-output { type nat hook output priority -100; jump services; }
}
"""


def test_a_service_by_ipv6(served: Pair) -> None:
    peer = served.peer.ipv6
    nft(served.host, SERVICE6.replace("PEER", peer).replace("END", peer.replace(":", ".")))
    served.host.ip(f"route add default via {peer}")
    result = examined(served.host, "fd00:10:96::50", 80)
    assert (result.verdict, result.exit_status) == ("cluster_internal", 0)
    assert f"[{peer}]:8000" in result.text
    assert result.rules[0] == "Service shop/web, port http, by kube-proxy (nftables)"
    assert result.evidence.service.endpoints == (f"[{peer}]:8000",)
