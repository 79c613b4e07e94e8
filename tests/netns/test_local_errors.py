"""The local host refuses a system call: netkat works, or says that in one clear message."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.helpers import netns
from tests.helpers.netns import ROOT, Pair
from tests.helpers.peers import Peer, peer
from tests.helpers.restricted import CALLS
from tests.helpers.waiting import wait_until

LIBRARY = """
import sys, netkat
try:
    with netkat.create_connection((sys.argv[1], int(sys.argv[2])), 3) as conn:
        conn.sendall(b"hi")
        assert conn.recv(2) == b"hi"
    print("worked")
except netkat.NetkatError as error:
    print(f"netkat: {error}\\n  next: {error.hint}", file=sys.stderr)
    sys.exit(error.exit_code)
"""
COMMANDS = ("connect", "datagram", "listen", "scan", "sniff", "library")
ERRNOS = ("EACCES", "EPERM", "ENOSYS", "ENOMEM")
EXPECTED = {"connect": "hi\n", "datagram": "hi\n", "library": "worked\n"}

_CAPABILITIES = "+net_raw,+net_admin,+bpf,+net_bind_service,+dac_override"
UNPRIVILEGED = (
    *("setpriv", "--reuid", "54321"),
    *("--inh-caps", _CAPABILITIES, "--ambient-caps", _CAPABILITIES),
)
"""RLIMIT_NPROC does not limit root."""


class Restricted:
    """Runs netkat's commands in the host's namespace, restricted."""

    def __init__(self, pair: Pair, tcp: Peer, udp: Peer) -> None:
        self.pair, self.tcp, self.udp = pair, tcp, udp

    def argv(self, command: str) -> list[str]:
        netkat = [sys.executable, "-m", "netkat"]
        timeout = ["timeout", "--preserve-status", "-s", "INT", "1"]
        there, port = self.pair.peer.ipv4, str(self.tcp.port)
        return {
            "connect": [*netkat, "-w", "2", there, port],
            "datagram": [*netkat, "-u", "-W", "1", "-w", "2", there, str(self.udp.port)],
            # Without a client it would wait for ever.
            "listen": [*timeout, *netkat, "-l", "-s", self.pair.host.ipv4, "7400"],
            "scan": [*netkat, "-z", "-w", "2", there, f"{port}-{self.tcp.port + 2}"],
            "sniff": [*netkat, "sniff", "-i", "eth0", "-c", "1"],
            "library": [sys.executable, "-c", LIBRARY, there, port],
        }[command]

    def check(self, command: str, *restrictions: str, before: Sequence[str] = ()) -> str:
        """Run it; what it printed on stderr. Errors: AssertionError."""
        runner = [sys.executable, "-m", "tests.helpers.restricted", *restrictions, "--"]
        done = self.pair.host.run(
            [*runner, *before, *self.argv(command)], cwd=ROOT, check=False, timeout=20, input="hi\n"
        )
        text = f"{command} {restrictions}: {done.returncode} {done.stdout!r} {done.stderr!r}"
        if done.returncode == 0 or (command == "listen" and not done.stderr):
            assert done.stdout == EXPECTED.get(command, done.stdout), text
            return ""
        for never in (
            "Traceback",
            "goroutine",
            "panic",
            "Errno",
            "internal error",
            "timed out",
            ".py",
        ):
            assert never not in done.stderr, text
        assert done.stderr.count("\n") >= 2, text
        first, second, *others = done.stderr.splitlines()
        assert (done.returncode, others) == (2, []), text
        assert first.startswith("netkat: "), text
        assert second.startswith("  next: "), text
        assert "local host" in first, text
        return str(done.stderr)


@pytest.fixture(scope="module")
def lab() -> Iterator[Restricted]:
    with (
        netns.netns_pair("nke") as pair,
        peer(pair.peer, "tcp-echo") as tcp,
        peer(pair.peer, "udp-echo") as udp,
    ):
        # sniff waits for a packet
        traffic = ["ping", "-i", "0.2", pair.host.ipv4]
        ping = pair.peer.popen(traffic, stdout=subprocess.DEVNULL)
        # Else the next test finds a process of another name.
        wait_until(lambda: b"ping" in Path(f"/proc/{ping.pid}/cmdline").read_bytes()[:5])
        try:
            yield Restricted(pair, tcp, udp)
        finally:
            ping.kill()
            ping.wait()


def check_denied(lab: Restricted, command: str, call: str, name: str) -> None:
    if call == "ioctl" and name != "EACCES":
        return  # Python itself does not start
    text = lab.check(command, "--deny", f"{call}={name}")
    if text:
        number = getattr(errno, name)
        assert os.strerror(number) in text or name in text, text
        assert call in text, text


@pytest.mark.parametrize("call", CALLS)
def test_denied_system_call_is_named(lab: Restricted, call: str) -> None:
    """Each command once with each call, each errno with each call."""
    turn = CALLS.index(call)
    for number, command in enumerate(COMMANDS[turn % 2 :: 2]):
        check_denied(lab, command, call, ERRNOS[(turn + number) % len(ERRNOS)])


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_denied_system_call_in_every_command(lab: Restricted, call: str) -> None:
    for command, name in itertools.product(COMMANDS, ERRNOS):
        check_denied(lab, command, call, name)


@pytest.mark.parametrize("limit", [40, 26, 13, 9, 6, 5])
def test_few_descriptors(lab: Restricted, limit: int) -> None:
    for command in COMMANDS[limit % 2 :: 2]:
        text = lab.check(command, "--nofile", str(limit))
        assert not text or "Too many open files" in text
        assert not text or "ulimit -n" in text


@pytest.mark.slow
@pytest.mark.parametrize("limit", range(64, 4, -1))
def test_every_number_of_descriptors(lab: Restricted, limit: int) -> None:
    for command in COMMANDS:
        text = lab.check(command, "--nofile", str(limit))
        assert not text or "Too many open files" in text


@pytest.mark.parametrize("mebibytes", [100, 500, 900, 1300])
def test_little_address_space(lab: Restricted, mebibytes: int) -> None:
    for command in ("connect", "library"):
        text = lab.check(command, "--as", str(mebibytes << 20))
        assert "ulimit -v" in text


@pytest.mark.slow
@pytest.mark.parametrize("mebibytes", range(100, 2600, 100))
def test_every_address_space(lab: Restricted, mebibytes: int) -> None:
    for command in COMMANDS:
        lab.check(command, "--as", str(mebibytes << 20))


@pytest.mark.slow
@pytest.mark.parametrize("threads", range(2, 21))
def test_every_number_of_threads(lab: Restricted, threads: int) -> None:
    for command in COMMANDS:
        check_threads(lab, command, threads)


def test_few_threads(lab: Restricted) -> None:
    for command, threads in (("connect", 6), ("scan", 7), ("datagram", 9), ("library", 12)):
        check_threads(lab, command, threads)


def check_threads(lab: Restricted, command: str, threads: int) -> None:
    text = lab.check(command, "--nproc", str(threads), before=UNPRIVILEGED)
    assert not text or "pthread_create" in text
    assert not text or "ulimit -u" in text or "ulimit -v -u" in text


def test_proc_hidden(lab: Restricted) -> None:
    for command in COMMANDS:
        text = lab.check(command, "--hide-proc")
        assert not text or "mount -t proc" in text
