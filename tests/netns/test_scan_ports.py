"""-z over many ports by netkat's own stack: one local port, one guard, past this host's rules."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import pytest

from netkat.bpf.guard.tcx import attached
from tests.helpers.netns import ROOT, Pair
from tests.helpers.peers import peer
from tests.helpers.rules import nft

NETKAT = [sys.executable, "-m", "netkat"]
VERSIONS = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])


def run(pair: Pair, *arguments: object, **options: Any) -> subprocess.CompletedProcess[Any]:
    """netkat on the host's side; never raises for its exit code."""
    options = {"text": True, "check": False, "cwd": ROOT, "timeout": 60, **options}
    return pair.host.run([*NETKAT, *map(str, arguments)], **options)


@VERSIONS
def test_a_thousand_ports_one_of_them_open(pair: Pair, version: int) -> None:
    nft(
        pair.host,
        "table inet here { chain out { type filter hook output priority 0; meta l4proto tcp drop; }"
        "; chain in { type filter hook input priority 0; meta l4proto tcp drop; }; }",
    )
    with peer(pair.peer, "tcp-sink", port=20500) as server:
        address = pair.peer.address(version)
        done = run(pair, "-z", "--json", "-v", address, "20001-21000")
        assert done.returncode == 0
        records = [json.loads(line) for line in done.stdout.splitlines()]
        assert [one["port"] for one in records] == list(range(20001, 21001))
        assert [one["port"] for one in records if one["state"] == "open"] == [20500]
        assert {one["state"] for one in records} == {"open", "closed"}
        assert {one["error"]["details"]["by"] for one in records if one["error"]} == {"RST"}
        # One path, one guard; and the connection was ended, not reset.
        notes = [line for line in done.stderr.splitlines() if "eth0" in line]
        assert len(notes) == 2
        assert "port 20500 [tcp/*] succeeded!" in done.stderr.replace(" 20500 port", " port 20500")
        assert server.event("closed")["bytes"] == 0


def test_every_port_by_the_local_port_asked_for(pair: Pair) -> None:
    with peer(pair.peer, "tcp-sink", port=20500) as one, peer(pair.peer, "tcp-sink") as other:
        ports = [20499, one.port, other.port]
        done = run(pair, "-z", "-p", 4567, pair.peer.ipv4, *ports)
        assert (done.returncode, done.stderr) == (0, "")
        assert one.event("closed")["peer"] == [pair.host.ipv4, 4567]
        assert other.event("closed")["peer"] == [pair.host.ipv4, 4567]


def test_silent_ports_are_waited_for_together(pair: Pair) -> None:
    nft(
        pair.peer,
        "table inet silent { chain in { type filter hook input priority 0;"
        " tcp dport 20001-20200 drop; }; }",
    )
    began = time.monotonic()
    done = run(pair, "-zv", "-w", "1", pair.peer.ipv4, "20001-20200", "20300")
    assert time.monotonic() - began < 40, "one after the other takes 200 s"
    assert done.returncode == 1
    said = done.stderr.splitlines()
    silent = [line for line in said if re.search(r"timed out after \d.*no reply to \d SYN", line)]
    assert len(silent) == 200
    assert "port 20300 (tcp) failed: Connection refused [RST" in done.stderr


@VERSIONS
def test_udp_states_of_a_range(pair: Pair, version: int) -> None:
    address = pair.peer.address(version)
    with peer(pair.peer, "udp-echo", port=20501), peer(pair.peer, "udp-counter", port=20502):
        done = run(pair, "-uz", "--json", "-w1", address, "20500-20503")
        states = {one["port"]: one["state"] for one in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0
    assert states == {20500: "closed", 20501: "open", 20502: "open_or_filtered", 20503: "closed"}


def test_a_foreign_client_scans_too(pair: Pair) -> None:
    with peer(pair.peer, "tcp-sink", port=20500) as server:
        done = run(pair, "-z", "--claim", "10.99.0.55", pair.peer.ipv4, "20490-20510")
        assert (done.returncode, done.stderr) == (0, "")
        assert server.event("closed")["peer"][0] == "10.99.0.55"


def test_a_next_hop_that_is_silent_and_one_that_is_not_there(pair: Pair) -> None:
    done = run(pair, "-zv", "-w", "9", "10.99.0.77", "20001-20003")
    assert done.returncode == 1
    assert done.stderr.count("next hop 10.99.0.77 on eth0 did not answer ARP") == 3
    done = run(pair, "-z", "203.0.113.1", "20001-20003")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "no route to 203.0.113.1" in done.stderr


def test_ctrl_c_ends_it_at_once(pair: Pair) -> None:
    nft(
        pair.peer,
        "table inet silent { chain in { type filter hook input priority 0;"
        " tcp dport 20002-30000 drop; }; }",
    )
    words = [*NETKAT, "-zv", "-w60", pair.peer.ipv4, "20001-22000"]
    child = pair.host.popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    for line in child.stderr:
        if "20001 (tcp) failed: Connection refused" in line:
            break
    child.send_signal(signal.SIGINT)
    began = time.monotonic()
    assert child.wait(20) == 130
    assert time.monotonic() - began < 10
    assert "Traceback" not in child.stderr.read()
    child.stderr.close()
    # Its program went with it.
    assert pair.host.call(lambda: attached(socket.if_nametoindex("eth0"))) == []
