"""``netkat why`` as a command: report, JSON, trace, exit status, usage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.netns import ROOT, Namespace, Pair
from tests.helpers.schemas import parsed

WHY = [sys.executable, "-m", "netkat", "why"]


def run(space: Namespace, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return space.run([*WHY, "-w", "500ms", *words], check=False, cwd=ROOT, **options)


@pytest.fixture
def served(pair: Pair) -> Pair:
    command = [sys.executable, "-m", "http.server", "8000", "--bind", "::"]
    pair.peer.popen(command, stderr=subprocess.DEVNULL, cwd="/")
    pair.peer.wait_served(8000)
    return pair


def test_a_connection_that_works(served: Pair) -> None:
    done = run(served.host, "-v", served.peer.ipv4, "8000")
    assert done.returncode == 0
    assert done.stdout.splitlines()[3].startswith("SAME  ")
    assert done.stderr.startswith("made nftables table inet netkat-why-")


def test_several_ports_and_the_worst_exit_status(served: Pair) -> None:
    done = run(served.host, "--json", served.peer.ipv4, "8000", "81")
    assert done.returncode == 1
    found = [parsed("why", line) for line in done.stdout.splitlines()]
    assert [one["verdict"] for one in found] == ["same", "refused"]
    assert [one["exit_status"] for one in found] == [0, 1]


def test_a_trace_shows_both_directions(served: Pair) -> None:
    served.host.run(
        ["iptables-nft", "-A", "INPUT", "-p", "tcp", "-m", "comment", "--comment", "in"]
    )
    done = run(served.host, "--trace", served.peer.ipv4, "8000")
    lines = done.stdout.splitlines()
    assert any(line.endswith("[S]") for line in lines)
    assert any(line.endswith("[SA]") for line in lines)
    assert any(line.startswith("  input       ip filter INPUT: policy accept") for line in lines)


def test_incoming_in_a_namespace_by_name(served: Pair) -> None:
    host = served.host
    host.ip(f"route add default via {served.peer.ipv4}")
    words = [*WHY, "--incoming", "--json", "--netns", host.name, host.ipv4, "22"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False, timeout=20)
    assert done.returncode == 1
    found = parsed("why", done.stdout)
    assert found["verdict"] == "nothing_listens"
    assert found["evidence"]["client"] == "203.0.113.7"


def test_ipv6_by_name(served: Pair) -> None:
    done = run(served.host, "-6", "--json", served.peer.ipv6, "8000")
    assert parsed("why", done.stdout)["evidence"]["target"]["address"] == served.peer.ipv6


def test_a_datagram_of_ones_own(served: Pair, tmp_path: Path) -> None:
    payload = tmp_path / "datagram"
    payload.write_bytes(b"hello")
    done = run(served.host, "-u", "--send", str(payload), served.peer.ipv4, "9")
    assert done.returncode == 1
    assert "REFUSED" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--client", "192.0.2.1", "192.0.2.2", "80"], "--client requires --incoming"),
        (["-i", "eth0", "192.0.2.2", "80"], "-i requires --incoming"),
        (["--send", "x", "192.0.2.2", "80"], "--send requires -u"),
        (["-u", "192.0.2.2", "9999"], "-u: no harmless datagram is known for port 9999"),
        (["-4", "-6", "192.0.2.2", "80"], "-4 and -6 cannot be used together"),
        (["--incoming", "--claim", "192.0.2.3", "192.0.2.2", "80"], "--claim cannot be used with"),
    ],
)
def test_usage(pair: Pair, words: list[str], message: str) -> None:
    done = run(pair.host, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_without_capabilities_it_says_which(pair: Pair) -> None:
    lost = "-net_admin,-bpf,-sys_admin"
    prefix = ["setpriv", "--inh-caps", lost, "--bounding-set", lost]
    pair.host.ip(f"route add default via {pair.peer.ipv4}")
    words = [*prefix, *WHY, "--incoming", pair.host.ipv4, "80"]
    done = pair.host.run(words, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "CAP_" in done.stderr
