"""netkat why and the firewalls that hosts really have: each blocks in its usual way."""

from __future__ import annotations

import random
import subprocess
import sys
import time

import pytest

from netkat.diagnose.why.api import why
from tests.helpers.netns import Pair
from tests.helpers.rules import nft
from tests.helpers.why_lab import examined

PORT = 8000

FIREWALLD = """
table inet firewalld {
    chain filter_INPUT {
        type filter hook input priority filter + 10; policy accept;
        ct state { established, related } accept
        iifname "lo" accept
        jump filter_INPUT_ZONES
        reject with icmpx admin-prohibited
    }
    chain filter_INPUT_ZONES {
        iifname "eth0" goto filter_IN_public
    }
    chain filter_IN_public {
        jump filter_IN_public_allow
        meta l4proto { icmp, ipv6-icmp } accept
        return
    }
    chain filter_IN_public_allow {
        tcp dport 22 ct state new,untracked accept
    }
}
"""
UFW = """*filter
:INPUT DROP [0:0]
:ufw-before-input - [0:0]
:ufw-user-input - [0:0]
:ufw-track-input - [0:0]
-A INPUT -j ufw-before-input
-A INPUT -j ufw-track-input
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -j ufw-user-input
-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
"""
DOCKER = """*filter
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
:DOCKER-FORWARD - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER-FORWARD -i docker0 -j ACCEPT
COMMIT
"""
CALICO = """*filter
:cali-INPUT - [0:0]
:cali-from-host-endpoint - [0:0]
:cali-fhfw-default - [0:0]
-A INPUT -m comment --comment "cali:Cz_u1IQiXIMmKD4c" -j cali-INPUT
-A cali-INPUT -m comment --comment "cali:3GkM" -j cali-from-host-endpoint
-A cali-from-host-endpoint -m comment --comment "cali:ab" -j cali-fhfw-default
-A cali-fhfw-default -m comment --comment "cali:cd Drop by policy" -j DROP
COMMIT
"""
HAND_WRITTEN = """
table inet filter {
    set allowed { type ipv4_addr; flags interval; elements = { 192.0.2.0/24 } }
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        ip saddr @allowed tcp dport 8000 accept comment "the office"
    }
}
"""


def load(pair: Pair, rules: str) -> None:
    if rules.startswith("*"):
        pair.host.run(["iptables-nft-restore"], input=rules)
    else:
        nft(pair.host, rules)


@pytest.fixture
def server(pair: Pair) -> Pair:
    pair.host.ip(f"route add default via {pair.peer.ipv4}")
    command = [sys.executable, "-m", "http.server", str(PORT)]
    pair.host.popen(command, stderr=subprocess.DEVNULL, cwd="/")
    pair.host.wait_served(PORT)
    return pair


@pytest.mark.parametrize(
    ("rules", "verdict", "rule"),
    [
        (FIREWALLD, "blocked_input", "inet firewalld: filter_INPUT: reject"),
        (UFW, "blocked_input", "ip filter: INPUT: policy drop"),
        (CALICO, "blocked_policy", "cali-INPUT (cali:3GkM) > cali-from-host-endpoint (cali:ab)"),
        (HAND_WRITTEN, "blocked_input", "inet filter: input: policy drop"),
    ],
    ids=["firewalld", "ufw", "calico", "hand-written"],
)
def test_a_host_firewall_is_named(server: Pair, rules: str, verdict: str, rule: str) -> None:
    assert examined(server.host, server.host.ipv4, PORT, incoming=True).verdict == "accepted"
    load(server, rules)
    result = examined(server.host, server.host.ipv4, PORT, incoming=True)
    assert result.verdict == verdict
    assert rule in result.rules[0]


def test_another_client_is_let_in(server: Pair) -> None:
    load(server, HAND_WRITTEN)
    result = examined(server.host, server.host.ipv4, PORT, incoming=True, client="192.0.2.5")
    assert result.verdict == "accepted"


def test_docker_forbids_forwarding(pair: Pair) -> None:
    pair.host.ip(f"route add default via {pair.peer.ipv4}")
    pair.host.sysctl("net.ipv4.ip_forward", 1)
    load(pair, DOCKER)
    result = examined(pair.host, "198.51.100.20", 80, incoming=True)
    assert result.verdict == "blocked_forward"
    assert result.rules == ("ip filter: FORWARD: policy drop",)


def harmless_rules(chance: random.Random) -> str:
    """Chains on every hook whose rules match other traffic, count, mark or accept."""
    chains, hooks = [], ["prerouting", "input", "forward", "output", "postrouting"]
    for number in range(chance.randint(1, 8)):
        hook = chance.choice(hooks)
        priority = chance.randint(-300, 300)
        rules = "\n".join(
            chance.choice(
                [
                    f"tcp dport {chance.randint(9000, 9999)} drop",
                    f"ip daddr 192.0.2.{chance.randint(1, 254)} drop",
                    "counter",
                    "meta mark set 0x7",
                    f'udp dport {chance.randint(1, 65535)} drop comment "no udp"',
                    "ct state established accept",
                    f"ip saddr 203.0.113.{chance.randint(1, 254)} jump other",
                    "jump other",
                ]
            )
            for _ in range(chance.randint(1, 12))
        )
        head = f"chain c{number} {{\ntype filter hook {hook} priority {priority}; policy accept;"
        chains.append(f"{head}\n{rules}\n}}")
    other = "chain other {\ncounter\nip ttl 3 drop\nreturn\n}"
    return "\n".join(["table inet harmless {", other, *chains, "}"])


@pytest.mark.parametrize("seeds", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_rules_that_do_nothing_are_not_named(pair: Pair, seeds: int) -> None:
    pair.peer.popen(
        [sys.executable, "-m", "http.server", str(PORT)], stderr=subprocess.DEVNULL, cwd="/"
    )
    pair.peer.wait_served(PORT)
    for seed in range(seeds):
        rules = harmless_rules(random.Random(seed))
        pair.host.run(["nft", "flush", "ruleset"])
        nft(pair.host, rules)
        result = why(pair.peer.ipv4, PORT, netns=pair.host.name, timeout=1)
        assert result.verdict == "same", f"seed {seed}: {result}\n{rules}"


SYNC = """
table ip kube-proxy
delete table ip kube-proxy
table ip kube-proxy {
    chain services { counter; }
    chain nat-output { type nat hook output priority -100; jump services; }
}
"""


def test_beside_a_program_that_writes_rules_neither_is_disturbed(server: Pair) -> None:
    """A loop of transactions as kube-proxy's, and of flushes; each must succeed at once."""
    loop = (
        "import subprocess, sys, time\n"
        "worst = failed = count = 0\n"
        "end = time.monotonic() + 3\n"
        "while time.monotonic() < end:\n"
        f"  for text in ({SYNC!r}, 'flush ruleset'):\n"
        "    begun = time.monotonic()\n"
        "    done = subprocess.run(['nft', '-f', '-'], input=text, text=True)\n"
        "    worst, count = max(worst, time.monotonic() - begun), count + 1\n"
        "    failed += done.returncode != 0\n"
        "print(count, failed, worst)\n"
    )
    host = server.host
    child = host.popen([sys.executable, "-c", loop], stdout=subprocess.PIPE, text=True)
    end = time.monotonic() + 2.5
    verdicts = []
    while time.monotonic() < end:
        result = why(host.ipv4, PORT, netns=host.name, incoming=True)
        verdicts.append(result.verdict)
    assert child.stdout is not None
    count, failed, worst = child.stdout.read().split()
    assert set(verdicts) == {"accepted"}
    assert len(verdicts) >= 5 and int(count) >= 5
    assert int(failed) == 0
    assert float(worst) < 1.0
