"""Closed and null standard descriptors, readers that have gone: no data is lost with status 0."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.netns import ROOT, Pair
from tests.helpers.peers import pattern, peer
from tests.helpers.waiting import wait_until

NETKAT = [sys.executable, "-m", "netkat"]
CLOSE = [sys.executable, "-m", "tests.helpers.restricted", "--close"]
PORT = 7600
SIZE = 20_000_000
SERVERS = {
    "nc": ["nc", "-N", "-l", str(PORT)],
    "ncat": ["ncat", "-l", str(PORT)],
}


def listening(pair: Pair) -> bool:
    return bool(pair.peer.run(["ss", "-Hltn", f"sport = :{PORT}"]).stdout)


def ready(child: subprocess.Popen[bytes]) -> None:
    assert child.stderr is not None
    assert any(b"Listening" in line for line in child.stderr)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("stdin", ["null", "closed"])
@pytest.mark.parametrize("server", SERVERS)
def test_connect_without_input_receives_everything(
    pair: Pair, tmp_path: Path, server: str, stdin: str
) -> None:
    given, taken = tmp_path / "given", tmp_path / "taken"
    given.write_bytes(pattern(SIZE))
    before = [*CLOSE, "0", "--"] if stdin == "closed" else []
    with given.open("rb") as source, taken.open("wb") as sink:
        child = pair.peer.popen(SERVERS[server], stdin=source, stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: listening(pair))
            argv = [*before, *NETKAT, pair.peer.ipv4, str(PORT)]
            netkat = pair.host.popen(
                argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.PIPE
            )
            _, complaint = netkat.communicate(timeout=60)
        finally:
            child.kill()
            child.wait()
    assert (netkat.returncode, complaint) == (0, b"")
    assert digest(taken) == digest(given)


def test_listen_with_null_input_receives_everything(pair: Pair, tmp_path: Path) -> None:
    given, taken = tmp_path / "given", tmp_path / "taken"
    given.write_bytes(pattern(SIZE))
    argv = [*NETKAT, "-l", "-v", pair.host.ipv4, str(PORT)]
    with given.open("rb") as source, taken.open("wb") as sink:
        child = pair.host.popen(
            argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.PIPE
        )
        assert child.stderr is not None
        try:
            ready(child)
            client = ["ncat", pair.host.ipv4, str(PORT)]
            pair.peer.run(client, stdin=source, timeout=60)
            assert child.wait(20) == 0
        finally:
            child.kill()
            child.communicate()
    assert digest(taken) == digest(given)


@pytest.mark.parametrize("option", ["-N", "-q1", "--send-only"])
def test_null_input_with_explicit_end_ends(pair: Pair, option: str) -> None:
    with peer(pair.peer, "tcp-echo") as echo:
        argv = [*NETKAT, option, pair.peer.ipv4, str(echo.port)]
        done = pair.host.run(argv, cwd=ROOT, stdin=subprocess.DEVNULL, timeout=20, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("protocol", [[], ["-u"]])
def test_write_to_closed_stdout_fails(pair: Pair, protocol: list[str]) -> None:
    with peer(pair.peer, "udp-echo" if protocol else "tcp-echo") as echo:
        argv = [*CLOSE, "1", "--", *NETKAT, *protocol, pair.peer.ipv4, str(echo.port)]
        done = pair.host.run(argv, cwd=ROOT, input="hi\n", timeout=20, check=False)
    assert done.returncode == 1, done.stderr
    assert "cannot write standard output: Bad file descriptor" in done.stderr


@pytest.mark.parametrize("protocol", [[], ["-u"]])
def test_listener_ends_when_its_reader_has_gone(pair: Pair, protocol: list[str]) -> None:
    argv = [*NETKAT, *protocol, "-l", "-k", "-v", pair.host.ipv4, str(PORT)]
    child = pair.host.popen(
        argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None and child.stderr is not None
    try:
        ready(child)
        send = ["nc", *protocol, "-N", "-w1", pair.host.ipv4, str(PORT)]
        pair.peer.run(send, input="first\n")
        assert child.stdout.readline() == b"first\n"
        child.stdout.close()
        child.stdout = None
        assert child.wait(20) == 0
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()


@pytest.mark.parametrize(("options", "size"), [([], 1400), (["--datagram-size", "9000"], 9000)])
def test_file_leaves_in_datagrams_of_a_size(pair: Pair, options: list[str], size: int) -> None:
    with peer(pair.peer, "udp-echo") as echo:
        argv = [*NETKAT, "-u", *options, pair.peer.ipv4, str(echo.port)]
        data = pattern(20_000).hex()[:20_000]
        done = pair.host.run(argv, cwd=ROOT, input=data, timeout=20, check=False)
        assert (done.returncode, done.stdout) == (0, data)
        assert echo.event("datagram")["bytes"] == size
