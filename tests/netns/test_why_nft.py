"""netkat why's own netlink: tables with an owner, traces, rules by handle, elements by key."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import ip_address

import pytest

from netkat.diagnose.why.conntrack import entries_to, statistics, tracked
from netkat.diagnose.why.nft import build, uapi
from netkat.diagnose.why.nft.lookup import Rule, RuleSet, concatenation
from netkat.diagnose.why.nft.owned_table import Chain, OwnedTable
from netkat.diagnose.why.nft.trace import TraceEvent, TraceSocket
from netkat.errors import MissingCapability
from netkat.host.conntrack import ConntrackTuple
from tests.helpers.netns import ROOT, Namespace, Pair, namespace
from tests.helpers.rules import nft, track_connections

FIRST = -310


@pytest.fixture
def space() -> Iterator[Namespace]:
    with namespace("nkw") as made:
        yield made


def tracing(port: int) -> list[Chain]:
    rule = build.l4proto(socket.IPPROTO_TCP) + build.source_port(port) + build.trace()
    return [Chain("output", uapi.OUTPUT, FIRST, [rule])]


def tables(space: Namespace) -> list[str]:
    return space.run(["nft", "list", "tables"]).stdout.splitlines()


def connect(space: Namespace, host: str) -> tuple[list[TraceEvent], RuleSet]:
    """The trace of one SYN from the namespace, and a reader of its rules."""

    def inside() -> tuple[list[TraceEvent], RuleSet]:
        with ExitStack() as open_now:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            probe = open_now.enter_context(socket.socket(family, socket.SOCK_STREAM))
            probe.setblocking(False)
            probe.bind(("", 0))
            events = open_now.enter_context(TraceSocket())
            open_now.enter_context(OwnedTable(tracing(probe.getsockname()[1])))
            probe.connect_ex((host, 80))
            return events.take(wait=0.05), RuleSet()

    return space.call(inside)


def rules_met(space: Namespace, host: str) -> list[Rule]:
    events, rule_set = connect(space, host)
    with rule_set:
        found = [
            rule_set.rule(event.family, event.table, event.chain, event.handle)
            for event in events
            if event.handle and not event.table.startswith("netkat-why")
        ]
    return [rule for rule in found if rule is not None]


def test_the_table_is_there_while_it_is_open(space: Namespace) -> None:
    def inside() -> str:
        with OwnedTable(tracing(1)) as table:
            assert (
                space.run(["nft", "list", "table", "inet", table.name]).stdout.count("sport 1") == 1
            )
            return table.name

    name = space.call(inside)
    assert str(os.getpid()) in name
    assert tables(space) == []


def test_two_tables_at_once(space: Namespace) -> None:
    def inside() -> None:
        with OwnedTable(tracing(1)) as first, OwnedTable(tracing(2)) as second:
            assert first.name != second.name
            assert len(tables(space)) == 2

    space.call(inside)
    assert tables(space) == []


def test_sigkill_removes_the_table(space: Namespace) -> None:
    code = (
        "import sys, time\n"
        "from netkat.diagnose.why.nft.owned_table import Chain, OwnedTable\n"
        "table = OwnedTable([Chain('output', 3, -310, [])])\n"
        "print(table.name, flush=True)\n"
        "time.sleep(60)\n"
    )
    child = space.popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert child.stdout is not None
    name = child.stdout.readline().strip()
    assert tables(space) == [f"table inet {name}"]
    child.send_signal(signal.SIGKILL)
    child.wait(5)
    wait_for(lambda: tables(space) == [])


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_flush_ruleset_leaves_the_table_alone(space: Namespace) -> None:
    def inside() -> None:
        with OwnedTable(tracing(1)) as table:
            space.run(["nft", "flush", "ruleset"])
            assert tables(space) == [f"table inet {table.name}"]

    space.call(inside)


def test_without_net_admin_it_says_so(space: Namespace) -> None:
    code = (
        "from netkat.diagnose.why.nft.owned_table import OwnedTable\n"
        "from netkat.errors import MissingCapability\n"
        "try: OwnedTable([])\n"
        "except MissingCapability as error: print(error.capability, error)\n"
    )
    done = space.run(
        [
            "setpriv",
            "--inh-caps=-net_admin",
            "--bounding-set=-net_admin",
            sys.executable,
            "-c",
            code,
        ],
        cwd=ROOT,
    )
    assert done.stdout == "CAP_NET_ADMIN an nftables table requires CAP_NET_ADMIN\n"
    assert issubclass(MissingCapability, PermissionError)


@pytest.mark.parametrize("version", [4, 6])
def test_rules_of_nft_are_read_by_handle(pair: Pair, version: int) -> None:
    rules = 'tcp dport 80 jump services comment "to services"'
    peer = pair.peer.address(version)
    family = "ip" if version == 4 else "ip6"
    nft(
        pair.host,
        "table inet shop {\n"
        f'chain services {{\n{family} daddr {peer} counter drop comment "closed on Sundays"\n}}\n'
        f"chain out {{\ntype filter hook output priority 0;\n{rules}\n}}\n}}",
    )
    found = rules_met(pair.host, peer)
    assert [rule.comment for rule in found] == ["to services", "closed on Sundays"]
    assert found[1].text.endswith(f"{family} daddr {peer} drop")
    assert found[0].text == "meta l4proto tcp th dport 80 jump services"


@pytest.mark.parametrize(("version", "tool"), [(4, "iptables-nft"), (6, "ip6tables-nft")])
def test_rules_of_iptables_nft_are_read_by_handle(pair: Pair, version: int, tool: str) -> None:
    peer = pair.peer.address(version)
    pair.host.run([tool, "-N", "SERVICES"])
    pair.host.run(
        [tool, "-A", "OUTPUT", "-m", "comment", "--comment", "all of it", "-j", "SERVICES"]
    )
    pair.host.run(
        [
            *f"{tool} -A SERVICES -d {peer} -p tcp --dport 80 -j REJECT".split(),
            *("-m", "comment", "--comment", "shop/web:http is closed"),
        ]
    )
    found = rules_met(pair.host, peer)
    assert [rule.comment for rule in found] == ["all of it", "shop/web:http is closed"]
    assert [rule.rejects for rule in found] == [False, True]


def test_a_policy_of_a_chain_is_an_event_without_handle(pair: Pair) -> None:
    nft(
        pair.host,
        "table ip f {\nchain out {\ntype filter hook output priority 0; policy drop;\n}\n}",
    )
    events, rule_set = connect(pair.host, pair.peer.ipv4)
    with rule_set:
        policy, *_ = [e for e in events if e.table == "f" and e.kind == "policy"]
        start = next(e for e in events if e.table == "f")
        chain = rule_set.chain(policy.family, "f", "out")
    assert (policy.kind, policy.verdict, policy.handle) == ("policy", uapi.Verdict.DROP, 0)
    assert chain is not None
    assert (chain.hook, chain.priority, chain.policy) == (uapi.OUTPUT, 0, uapi.Verdict.DROP)
    assert ip_address(start.network[16:20]) == pair.peer.ip_address(4)


def test_elements_are_read_by_key(space: Namespace) -> None:
    nft(
        space,
        "table ip k {\nchain endpoint {\n}\n"
        "map services {\ntype ipv4_addr . inet_proto . inet_service : verdict\nelements = {\n"
        '10.0.0.1 . tcp . 80 comment "shop/web:http" : goto endpoint,\n'
        "10.0.0.1 . udp . 53 : drop }\n}\n}",
    )
    ip = uapi.NFPROTO_IPV4

    def inside() -> None:
        with RuleSet() as rule_set:
            address = ip_address("10.0.0.1").packed
            web = rule_set.element(ip, "k", "services", concatenation(address, b"\6", b"\0\x50"))
            dns = rule_set.element(ip, "k", "services", concatenation(address, b"\x11", b"\0\x35"))
            none = rule_set.element(ip, "k", "services", concatenation(address, b"\6", b"\0\x51"))
            assert web == (uapi.Verdict.GOTO, "endpoint", "shop/web:http")
            assert dns == (uapi.Verdict.DROP, "", "")
            assert none is None
            assert len(rule_set.elements(ip, "k", "services")) == 2
            assert rule_set.has_table(ip, "k") and not rule_set.has_table(ip, "nothing")

    space.call(inside)


def test_the_generation_counts_transactions(space: Namespace) -> None:
    def inside() -> None:
        with RuleSet() as rule_set:
            before = rule_set.generation()
            assert rule_set.generation() == before
            nft(space, "table ip x {\n}")
            assert rule_set.generation() == before + 1

    space.call(inside)


def test_conntrack_by_tuple_and_by_destination(pair: Pair) -> None:
    track_connections(pair.host)
    pair.peer.popen(
        [sys.executable, "-m", "http.server", "8000"], stderr=subprocess.DEVNULL, cwd="/"
    )
    pair.peer.wait_served(8000)
    peer = pair.peer.ip_address(4)

    def inside() -> None:
        with socket.create_connection((str(peer), 8000), timeout=5) as probe:
            host, port = probe.getsockname()
            there = ConntrackTuple(ip_address(host), port, peer, 8000)
            entry = tracked(6, there)
            assert entry is not None
            assert entry == tracked(6, there.reverse())
            assert entry.original == there and entry.replied
            assert not entry.destination_translated and not entry.source_translated
            assert entries_to(6, peer, 8000) == [entry]
            assert entries_to(6, peer, 8001) == []
            assert tracked(17, there) is None
            assert statistics()["insert_failed"] == 0

    pair.host.call(inside)
