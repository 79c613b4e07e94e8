"""SIGINT and SIGTERM end netkat within a second, whatever it waits for, and nothing stays."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.helpers.netns import ROOT, Pair
from tests.helpers.peers import peer

ETH_P_ARP = 0x0806
NETKAT = [sys.executable, "-m", "netkat"]
SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
STATES = ["resolving", "connecting", "next hop silent", "idle", "reading", "writing"]
STATES += ["stdout blocked", "both blocked", "probing", "udp"]


def resolving(pair: Pair, undo: ExitStack, tmp_path: Path) -> list[str]:
    """A name server that takes the question and says nothing."""
    silent = undo.enter_context(peer(pair.peer, "udp-counter", port=53))
    assert silent.port == 53
    configuration = tmp_path / "resolv.conf"
    configuration.write_text(f"nameserver {pair.peer.ipv4}\noptions timeout:20\n")
    script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    return ["unshare", "-m", "sh", "-c", script, str(configuration), *NETKAT, "name.invalid", "80"]


def connecting(pair: Pair, undo: ExitStack, tmp_path: Path) -> list[str]:
    rules = "table inet silent { chain in { type filter hook input priority 0;"
    rules += " meta l4proto tcp drop; }; }"
    pair.peer.run(["nft", "-f", "-"], input=rules)
    return [*NETKAT, pair.peer.ipv4, "80"]


def next_hop_silent(pair: Pair, undo: ExitStack, tmp_path: Path) -> list[str]:
    return [*NETKAT, "10.99.0.77", "80"]


def talking_to(kind: str, *options: str, size: int = 0) -> Callable[..., list[str]]:
    def command(pair: Pair, undo: ExitStack, tmp_path: Path) -> list[str]:
        server = undo.enter_context(peer(pair.peer, kind, size=size))
        return [*NETKAT, *options, pair.peer.ipv4, str(server.port)]

    return command


COMMANDS: dict[str, Callable[[Pair, ExitStack, Path], list[str]]] = {
    "resolving": resolving,
    "connecting": connecting,
    "next hop silent": next_hop_silent,
    "idle": talking_to("tcp-sink"),
    "reading": talking_to("tcp-source", size=200_000_000),
    "writing": talking_to("tcp-mute"),
    "stdout blocked": talking_to("tcp-source", size=100_000_000),
    "both blocked": talking_to("tcp-echo"),
    "probing": talking_to("udp-counter", "-uz", "-w", "20"),
    "udp": talking_to("udp-echo", "-u"),
}


@SIGNALS
@pytest.mark.parametrize("state", STATES)
def test_a_signal_ends_it_within_a_second(
    pair: Pair, tmp_path: Path, state: str, number: signal.Signals
) -> None:
    with ExitStack() as undo:
        argv = COMMANDS[state](pair, undo, tmp_path)
        # "writing" and "both blocked" are fed without end; "reading" is emptied without end.
        stdin = open("/dev/zero", "rb") if state in ("writing", "both blocked") else None  # noqa: SIM115
        stdout = subprocess.DEVNULL if state == "reading" else subprocess.PIPE
        child = pair.host.popen(
            argv,
            stdin=stdin or subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        if stdin is not None:
            undo.enter_context(stdin)
        wait_for_handlers(child)
        # Into the state; a machine that is slower than that is in an earlier one, which is as good.
        time.sleep(1)
        assert child.poll() is None, child.stderr and child.stderr.read()
        child.send_signal(number)
        # A second where nobody else is at work.
        assert child.wait(10) == 128 + number
        assert child.stderr is not None
        assert child.stderr.read() == b""
    assert nothing_attached(pair)


def wait_for_handlers(child: subprocess.Popen[bytes]) -> None:
    """Until netkat catches SIGTERM: what execs it does not."""
    end = time.monotonic() + 20
    while not caught(child.pid) >> signal.SIGTERM - 1 & 1:
        assert time.monotonic() < end, "netkat does not catch signals"
        time.sleep(0.02)


def caught(pid: int) -> int:
    """The signals that a process has handlers for, as a mask."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return int(line.split()[1], 16)
    return 0


def nothing_attached(pair: Pair) -> bool:
    """No qdisc, filter or tcx program of ours is left on the host's interface."""
    qdiscs = pair.host.run(["tc", "qdisc", "show", "dev", "eth0"]).stdout
    return "clsact" not in qdiscs


@SIGNALS
@pytest.mark.parametrize("step", ["tcx", "clsact", "cbpf", "socket"])
def test_a_signal_takes_every_guard_down(pair: Pair, step: str, number: signal.Signals) -> None:
    with peer(pair.peer, "tcp-sink") as server:
        argv = [*NETKAT, "--guard", step, pair.peer.ipv4, str(server.port)]
        child = pair.host.popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
        server.event("accepted")
        child.send_signal(number)
        assert child.wait(10) == 128 + number
        # The peer got all there was, so it gets a FIN and no RST.
        assert server.event("closed")["bytes"] == 0
    end = time.monotonic() + 5
    while not nothing_attached(pair):
        assert time.monotonic() < end, "the guard is still there"
        time.sleep(0.05)


@SIGNALS
def test_a_signal_while_an_address_is_probed_for(pair: Pair, number: signal.Signals) -> None:
    """Sent with the first probe on the wire."""

    def listen() -> socket.socket:
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ARP))
        tap.bind(("eth0", ETH_P_ARP))
        tap.settimeout(20)
        return tap

    with pair.peer.call(listen) as tap:
        argv = [*NETKAT, "--claim", "10.99.0.200", pair.peer.ipv4, "80"]
        child = pair.host.popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
        probed = socket.inet_aton("10.99.0.200")
        while tap.recv(100)[24:28] != probed:
            pass
        child.send_signal(number)
        assert child.wait(10) == 128 + number
        assert child.stderr is not None and child.stderr.read() == b""
    assert nothing_attached(pair)


def test_an_ignored_sigint_stays_ignored(pair: Pair) -> None:
    with peer(pair.peer, "tcp-echo") as server:
        script = 'trap "" INT; exec "$@"'
        argv = ["sh", "-c", script, "sh", *NETKAT, pair.peer.ipv4, str(server.port)]
        child = pair.host.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        server.event("accepted")
        child.send_signal(signal.SIGINT)
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(b"still here")
        child.stdin.close()
        assert child.stdout.read() == b"still here"
        assert child.wait(10) == 0
