"""What a parent process left ignored, blocked or closed; and what a command of -e is given."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.netns import ROOT, Pair
from tests.helpers.peers import peer
from tests.helpers.waiting import wait_until

NETKAT = [sys.executable, "-m", "netkat"]
ENDING = ("SIGINT", "SIGTERM", "SIGQUIT", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGXCPU")


def inheriting(*state: str) -> list[str]:
    """netkat, started by a process in this state."""
    return [sys.executable, "-m", "tests.helpers.restricted", *state, "--", *NETKAT]


def catches(pid: int, number: int) -> bool:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> number - 1 & 1)
    return False


@pytest.mark.parametrize("guard", ["tcx", "clsact", "cbpf", "socket"])
def test_ignored_sigchld_with_every_guard(pair: Pair, guard: str) -> None:
    with peer(pair.peer, "tcp-echo") as server:
        argv = [*inheriting("--ignore", "SIGCHLD"), "--guard", guard]
        done = pair.host.run(
            [*argv, pair.peer.ipv4, str(server.port)], cwd=ROOT, input="hi", check=False, timeout=20
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "hi", "")


@pytest.mark.parametrize("how", ["-c", "-e"])
def test_command_with_ignored_sigchld_ends(pair: Pair, how: str) -> None:
    with peer(pair.peer, "tcp-echo") as server:
        command = ["-c", "echo hi; exit 7"] if how == "-c" else ["-e", "/bin/false"]
        argv = [*inheriting("--ignore", "SIGCHLD"), *command, pair.peer.ipv4, str(server.port)]
        done = pair.host.run(argv, cwd=ROOT, check=False, timeout=20)
        assert done.returncode == (7 if how == "-c" else 1)
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ENDING)
def test_blocked_signal_ends_it_with_fin(pair: Pair, name: str) -> None:
    number = signal.Signals[name]
    with peer(pair.peer, "tcp-sink") as server:
        argv = [*inheriting("--block", name), pair.peer.ipv4, str(server.port)]
        child = pair.host.popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
        wait_until(lambda: catches(child.pid, number), 20)
        wait_until(lambda: "ESTAB" in pair.peer.run(["ss", "-Htan"]).stdout, 20)
        child.send_signal(number)
        assert child.wait(10) == 128 + number
        assert child.stderr is not None
        assert child.stderr.read() == b""
        assert server.event("closed")["bytes"] == 0


def test_ignored_sigint_stays_ignored(pair: Pair) -> None:
    with peer(pair.peer, "tcp-sink") as server:
        argv = [*inheriting("--ignore", "SIGINT"), pair.peer.ipv4, str(server.port)]
        child = pair.host.popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
        wait_until(lambda: catches(child.pid, signal.SIGTERM), 20)
        assert not catches(child.pid, signal.SIGINT)
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 128 + signal.SIGTERM
        assert child.stderr is not None and child.stderr.read() == b""


REPORT = """
import os, sys
for line in open("/proc/self/status"):
    if line.startswith(("SigBlk", "SigIgn")):
        print(line.strip(), file=sys.stderr)
for name, value in os.environ.items():
    print(f"{name}={value}", file=sys.stderr)
"""


def test_command_gets_what_netkat_was_started_with(pair: Pair, tmp_path: Path) -> None:
    script = tmp_path / "report.py"
    script.write_text(REPORT)
    environment = {**os.environ, "NETKAT_PROXY_AUTH": "user:secret", "KEPT": "yes"}
    with peer(pair.peer, "tcp-sink") as server:
        argv = inheriting("--block", "SIGURG", "--ignore", "SIGCHLD")
        # -e and not -c: dash unblocks all signals.
        argv += ["-e", f"{sys.executable} {script}", pair.peer.ipv4, str(server.port)]
        done = pair.host.run(argv, cwd=ROOT, env=environment, check=False, timeout=20)
    lines = done.stderr.splitlines()
    sets = {line.split(":")[0]: int(line.split()[1], 16) for line in lines if line[:3] == "Sig"}
    assert sets["SigBlk"] == 1 << signal.SIGURG - 1
    for number in (signal.SIGTTIN, signal.SIGCHLD, signal.SIGINT):
        assert not sets["SigIgn"] >> number - 1 & 1, number
    assert "KEPT=yes" in lines
    assert "secret" not in done.stderr


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_closed_standard_descriptors(pair: Pair, closed: tuple[int, ...]) -> None:
    state = [word for one in closed for word in ("--close", str(one))]
    with peer(pair.peer, "tcp-source", size=1000) as server:
        argv = [*inheriting(*state), "--no-stdin", pair.peer.ipv4, str(server.port)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        child = pair.host.popen(argv, cwd=ROOT, **pipes)
        out, err = child.communicate(timeout=20)
    assert child.returncode in ((0, 1) if 1 in closed else (0,)), err
    assert len(out) == (0 if 1 in closed else 1000)
    assert b"Traceback" not in err
