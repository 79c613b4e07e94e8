"""netcat's forms of listening: which command it is, where, and what is wrong with it."""

from __future__ import annotations

import subprocess
import sys
from ipaddress import ip_address
from typing import Any

import pytest

from netkat.cli import command_group
from netkat.commands.listen.listen_request import ListenRequest

NETKAT = [sys.executable, "-m", "netkat"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The requests that reach the commands, in order; nothing is opened."""
    import netkat.commands.connect.pipeline
    import netkat.commands.listen.accept_loop

    requests: list[Any] = []

    def take(request: Any, say: Any) -> int:
        requests.append(request)
        return 0

    monkeypatch.setattr(netkat.commands.connect.pipeline, "connect", take)
    monkeypatch.setattr(netkat.commands.listen.accept_loop, "listen", take)
    return requests


@pytest.mark.parametrize(
    ("words", "host", "port"),
    [
        ("-l 80", None, 80),
        ("listen 80", None, 80),
        ("-l http", None, 80),
        ("-l 0", None, 0),
        ("-l 10.0.0.1 80", "10.0.0.1", 80),
        ("-l name 80", "name", 80),
        ("-l fd00::1 80", "fd00::1", 80),
        ("-l [fd00::1] 80", "fd00::1", 80),
        ("-lp 80", None, 80),
        ("-vlp 80 10.0.0.1", "10.0.0.1", 80),
        ("-l -p 80 -s 10.0.0.1", "10.0.0.1", 80),
        ("-p 80 -l", None, 80),
        ("-kvnl 80", None, 80),
        ("-w5 -l 80", None, 80),
        ("-w 5 --listen 80", None, 80),
        ("80 -Nl", None, 80),
    ],
)
def test_each_form(asked: list[Any], words: str, host: str | None, port: int) -> None:
    assert command_group.run(words.split()) == 0
    (request,) = asked
    assert isinstance(request, ListenRequest)
    assert request.host == host
    assert request.port == port


@pytest.mark.parametrize(
    "words", ["-N host 80", "-r host 80", "-il host 80", "-i l host 80", "-v -- -l 80"]
)
def test_an_l_that_is_a_value_does_not_listen(asked: list[Any], words: str) -> None:
    command_group.run(words.split())
    assert not any(isinstance(request, ListenRequest) for request in asked)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("-l", "no port given"),
        ("-l 70000", "out of range"),
        ("-l nosuchservice", "neither a port number"),
        ("-l 10.0.0.1 80 90", "too many arguments"),
        ("-l -p 80 10.0.0.1 90", "too many arguments"),
        ("-l -p 80 90", "port given twice: -p 80 and 90"),
        ("-l 10.0.0.1 -s 10.0.0.2 80", "address given twice"),
        ("-l no-such-name.invalid 80", "no-such-name.invalid: "),
        ("-ln name 80", "-n disables name resolution"),
        ("-l localhost 80", "not reachable through a network interface"),
        ("-l 192.0.2.1 80", "192.0.2.1"),
        ("-l 80 --netns x --pod y/z", "--netns and --pod cannot be used together"),
        ("-lz 80", "-z cannot be used with -l"),
        ("-l46 80", "cannot be used together"),
        ("-l 80 --allow 10.0.0.0/64", "invalid network"),
        ("-l 80 --deny x", "invalid network"),
        ("-l 80 --reply shout", "unknown responder"),
        ("-l 80 --max-conns 0", "invalid number"),
        ("-l 127.0.0.1 80", "not reachable through a network interface"),
        ("-l 0.0.0.0 80", "not a single address"),
    ],
)
def test_a_mistake_is_one_line_and_a_next_step(words: str, complaint: str) -> None:
    done = subprocess.run(
        [*NETKAT, *words.split()], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    first, *more = done.stderr.splitlines()
    assert first.startswith("netkat: ") and complaint in first
    assert len(more) == 1 and more[0].startswith("  next: ")


@pytest.mark.parametrize(
    ("peer", "allow", "deny", "admitted"),
    [
        ("10.0.0.1", "", "", True),
        ("10.0.0.1", "10.0.0.0/8", "", True),
        ("192.0.2.1", "10.0.0.0/8", "", False),
        ("192.0.2.1", "", "10.0.0.0/8", True),
        ("10.0.0.1", "", "10.0.0.0/8", False),
        ("10.0.0.1", "10.0.0.0/8", "10.0.0.1/32", False),
        ("fd00::1", "10.0.0.0/8", "", False),
        ("fd00::1", "10.0.0.0/8,fd00::/8", "", True),
    ],
)
def test_who_is_let_in(asked: list[Any], peer: str, allow: str, deny: str, admitted: bool) -> None:
    words = ["-l", "80"]
    words += ["--allow", allow] if allow else []
    words += ["--deny", deny] if deny else []
    assert command_group.run(words) == 0
    assert asked[0].admits(ip_address(peer)) is admitted
