"""The external_client fixture, as people's own tests use it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.netns import ROOT, Pair

SUITE = """
import pytest

def test_reaches(external_client):
    assert external_client.reaches("10.99.0.2", 80)

def test_talks(external_client):
    conn = external_client.connect("10.99.0.2", 80)
    conn.sendall(b"hello")

def test_does_not_reach(external_client):
    assert external_client.reaches("10.99.0.2", 81)

def test_no_such_name(external_client):
    external_client.reaches("nowhere.invalid", 80)
"""


def suite(
    pair: Pair, folder: Path, *arguments: str, ini: str = ""
) -> subprocess.CompletedProcess[str]:
    (folder / "test_reach.py").write_text(SUITE)
    (folder / "pytest.ini").write_text(f"[pytest]\n{ini}")
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments, str(folder)]
    return pair.host.run(argv, check=False, timeout=60, cwd=folder)


@pytest.fixture
def served(pair: Pair) -> Pair:
    """A peer with ncat on port 80, and a host that lets nothing out."""
    pair.peer.popen(["ncat", "-lk", "80"], stdout=subprocess.DEVNULL)
    pair.peer.wait_served(80)
    pair.host.run(["iptables-nft", "-w", "-P", "OUTPUT", "DROP"])
    return pair


def test_a_suite(served: Pair, tmp_path: Path) -> None:
    done = suite(served, tmp_path)
    assert "2 failed, 2 passed" in done.stdout, done.stdout
    assert "<10.99.0.2 81: Connection refused [RST from 10.99.0.2" in done.stdout
    assert "NameNotFound" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "ini"),
    [(["--netkat-claim", "10.99.0.77"], ""), ([], "netkat_claim = 10.99.0.77")],
    ids=["option", "configuration"],
)
def test_how_it_goes_out(served: Pair, tmp_path: Path, arguments: list[str], ini: str) -> None:
    watching = served.peer.popen(
        ["tcpdump", "-ni", "eth0", "-c1", "src 10.99.0.77 and dst port 80"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert watching.stderr is not None
    while b"listening on" not in (line := watching.stderr.readline()):
        assert line
    done = suite(served, tmp_path, "-k", "reaches or talks", *arguments, ini=ini)
    assert "2 passed" in done.stdout, done.stdout
    assert b"10.99.0.77" in watching.communicate(timeout=20)[0]


def test_a_wrong_option_is_one_line(served: Pair, tmp_path: Path) -> None:
    done = suite(served, tmp_path, "-k", "talks", "--netkat-via", "nonsense")
    assert "external_client: via: 'nonsense' is neither an IP address nor a MAC" in done.stdout
    assert "Traceback" not in done.stdout


def test_it_costs_other_suites_nothing() -> None:
    """Every pytest of an environment with netkat loads the plugin: no more than that."""
    code = "import sys, netkat.pytest_plugin; print([n for n in sys.modules if 'netkat' in n])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = {"netkat", "netkat._version", "netkat.errors", "netkat.flow", "netkat.pytest_plugin"}
    assert set(eval(done.stdout)) <= loaded
