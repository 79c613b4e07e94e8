"""``netkat HOST PORT`` between namespaces: real netcats at the other end, ends, words."""

from __future__ import annotations

import hashlib
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.netns import ROOT, Namespace, Pair
from tests.helpers.peers import pattern, peer

RST_ON_CLOSE = struct.pack("ii", 1, 0)
IPVERSIONS = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
NETKAT = [sys.executable, "-m", "netkat"]
SIZE = 4_000_000
PORT = 7000
NETCATS = {
    "nc": ["nc", "-N", "-{version}", "-l", "{port}"],
    "ncat": ["ncat", "-{version}", "-l", "{port}"],
    "socat": ["socat", "-t", "10", "-", "TCP{version}-LISTEN:{port},reuseaddr"],
}


def run(pair: Pair, *arguments: object, **options: Any) -> subprocess.CompletedProcess[Any]:
    """netkat on the host's side; never raises for its exit code."""
    argv = [*NETKAT, *map(str, arguments)]
    options.setdefault("text", False)
    return pair.host.run(argv, check=False, cwd=ROOT, **options)


def start(pair: Pair, *arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    """The same, left running, with pipes on all sides unless said otherwise."""
    for name in ("stdin", "stdout", "stderr"):
        options.setdefault(name, subprocess.PIPE)
    return pair.host.popen([*NETKAT, *map(str, arguments)], cwd=ROOT, **options)


def shell(pair: Pair, command: str, *arguments: object) -> subprocess.CompletedProcess[Any]:
    """netkat under a shell, as "$@" of its command."""
    argv = ["bash", "-c", command, "bash", *NETKAT, *map(str, arguments)]
    return pair.host.run(argv, text=False, cwd=ROOT)


def listening(space: Namespace, port: int) -> None:
    """Wait until somebody listens there."""
    end = time.monotonic() + 5
    while f":{port} " not in space.run(["ss", "-Htln"]).stdout:
        assert time.monotonic() < end, f"nobody listens on {port}"
        time.sleep(0.02)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@IPVERSIONS
@pytest.mark.parametrize("tool", NETCATS)
def test_both_ways_with_a_real_netcat(pair: Pair, tmp_path: Path, tool: str, version: int) -> None:
    theirs, ours = pattern(SIZE, "theirs"), pattern(SIZE, "ours")
    (tmp_path / "theirs").write_bytes(theirs)
    (tmp_path / "ours").write_bytes(ours)
    argv = [word.format(version=version, port=PORT) for word in NETCATS[tool]]
    with (tmp_path / "theirs").open("rb") as source, (tmp_path / "got").open("wb") as sink:
        server = pair.peer.popen(argv, stdin=source, stdout=sink)
    listening(pair.peer, PORT)
    with (tmp_path / "ours").open("rb") as source:
        done = run(pair, pair.peer.address(version), PORT, stdin=source)
    assert (done.returncode, done.stderr) == (0, b"")
    assert digest(done.stdout) == digest(theirs)
    assert server.wait(10) == 0
    assert digest((tmp_path / "got").read_bytes()) == digest(ours)


def test_null_and_closed_input(pair: Pair) -> None:
    with peer(pair.peer, "tcp-source", size=1000) as server:
        done = run(pair, pair.peer.ipv4, server.port)
        assert (done.returncode, done.stdout) == (0, pattern(1000))
        for command in ('exec "$@" <&-', '"$@" & wait $!'):
            done = shell(pair, command, pair.peer.ipv4, server.port)
            assert done.stdout == pattern(1000)


def test_a_reader_that_leaves_is_no_error(pair: Pair) -> None:
    with peer(pair.peer, "tcp-source", size=10_000_000) as server:
        command = '"$@" | head -c 10; echo "${PIPESTATUS[0]}"'
        done = shell(pair, command, pair.peer.ipv4, server.port)
        assert done.stdout == pattern(10_000_000)[:10] + b"0\n"
        assert done.stderr == b""


def test_what_the_peer_never_takes_is_an_error_with_the_count(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "much").write_bytes(bytes(40_000_000))
    with peer(pair.peer, "tcp-mute") as server, (tmp_path / "much").open("rb") as source:
        done = run(pair, "-w1", pair.peer.ipv4, server.port, stdin=source)
    assert done.returncode == 1
    assert b"bytes not acknowledged" in done.stderr
    assert done.stderr.splitlines()[1].startswith(b"  next: ")


@pytest.mark.parametrize("kernel", [[], ["--kernel"]], ids=["netkat", "--kernel"])
def test_a_reset_after_the_peers_end_is_told_at_once(
    pair: Pair, tmp_path: Path, kernel: list[str]
) -> None:
    """RFC 9293's CLOSED, not an error of the stack's: our FIN waits behind a full window."""
    (tmp_path / "much").write_bytes(bytes(200_000))

    def served() -> socket.socket:
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server.bind((pair.peer.ipv4, PORT))
        server.listen()
        return server

    with pair.peer.call(served) as server, (tmp_path / "much").open("rb") as source:
        child = start(pair, *kernel, pair.peer.ipv4, PORT, stdin=source)
        server.settimeout(20)
        conn, _ = server.accept()
        with conn:
            conn.shutdown(socket.SHUT_WR)
            assert conn.recv(1, socket.MSG_PEEK)
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
        _, said = child.communicate(timeout=40)
    assert child.returncode == 1
    assert b"bytes not acknowledged" in said
    assert b"no acknowledgement in" not in said


def test_a_reset_is_named(pair: Pair) -> None:
    with peer(pair.peer, "tcp-reset", size=5) as server:
        child = start(pair, pair.peer.ipv4, server.port)
        assert child.stdin is not None and child.stderr is not None
        child.stdin.write(b"hello")
        child.stdin.flush()
        assert child.wait(20) == 1
        assert f"{pair.peer.ipv4} port {server.port} (tcp): Connection reset by peer [RST from" in (
            child.stderr.read().decode()
        )


@IPVERSIONS
def test_udp_question_and_answer(pair: Pair, version: int) -> None:
    with peer(pair.peer, "udp-echo") as server:
        began = time.monotonic()
        done = run(pair, "-u", pair.peer.address(version), server.port, input=b"ping")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"ping", b"")
        assert 1.9 < time.monotonic() - began < 15
        assert server.event("datagram")["bytes"] == 4


def test_udp_large_datagrams_go_whole(pair: Pair) -> None:
    data = pattern(40_000)
    with peer(pair.peer, "udp-echo") as server:
        done = run(pair, "-u", "--datagram-size", 40_000, pair.peer.ipv4, server.port, input=data)
        assert (done.returncode, done.stdout) == (0, data)
        assert server.event("datagram")["bytes"] == len(data)


@IPVERSIONS
def test_words_of_success_and_refusal(pair: Pair, version: int) -> None:
    address = pair.peer.address(version)
    with peer(pair.peer, "tcp-sink") as server:
        done = run(pair, "-vz", address, server.port)
        assert (done.returncode, done.stdout) == (0, b"")
        last = done.stderr.decode().splitlines()[-1]
        assert last == f"Connection to {address} {server.port} port [tcp/*] succeeded!"
        assert run(pair, "-z", address, server.port).stderr == b""
    refusal = (
        f"netkat: connect to {address} port {server.port} (tcp) failed:"
        f" Connection refused [RST from {address} ttl 64]"
    )
    done = run(pair, address, server.port)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().splitlines()[0] == refusal
    done = run(pair, "-vz", address, server.port)
    assert done.returncode == 1
    assert refusal in done.stderr.decode().splitlines()
    done = run(pair, "-z", address, server.port)
    assert (done.returncode, done.stderr) == (1, b"")


def test_udp_z_knows_three_states(pair: Pair) -> None:
    address = pair.peer.ipv4
    with peer(pair.peer, "udp-echo") as server:
        done = run(pair, "-uvz", address, server.port)
        assert done.returncode == 0
        assert b"succeeded!" in done.stderr
    done = run(pair, "-uvz", address, server.port)
    assert done.returncode == 1
    assert b"Connection refused [ICMP port unreachable from 10.99.0.2 ttl 64]" in done.stderr
    with peer(pair.peer, "udp-counter") as server:
        done = run(pair, "-uvz", "-w1", address, server.port)
        assert done.returncode == 0
        assert b"no answer (open or filtered) [no reply to 3 datagrams]" in done.stderr


def test_a_silent_address_gives_up_in_time(pair: Pair) -> None:
    drop(pair.peer)
    began = time.monotonic()
    done = run(pair, "-w", "700ms", pair.peer.ipv4, 80)
    assert time.monotonic() - began < 15
    assert done.returncode == 1
    assert b"timed out" in done.stderr and b"no reply to" in done.stderr


def drop(space: Namespace) -> None:
    """The namespace answers nothing any more."""
    rules = "table inet silent { chain in { type filter hook input priority 0;"
    space.run(["nft", "-f", "-"], input=rules + " meta l4proto { tcp, udp } drop; }; }")


def test_frames_are_shown_with_d(pair: Pair) -> None:
    with peer(pair.peer, "tcp-echo") as server:
        done = run(pair, "-d", pair.peer.ipv4, server.port, input=b"data")
        assert (done.returncode, done.stdout) == (0, b"data")
        lines = done.stderr.decode().splitlines()
        assert any("Flags [S]" in line for line in lines)
        assert any("Flags [S.]" in line for line in lines)
        assert all(str(server.port) in line or "ARP" in line for line in lines)


def test_without_root_one_line_says_what_is_missing(pair: Pair) -> None:
    # By capabilities and not by user: the tree may lie where only its owner can look.
    powerless = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]
    done = pair.host.run([*powerless, *NETKAT, pair.peer.ipv4, "80"], check=False, cwd=ROOT)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert lines[0].startswith("netkat: ") and "CAP_NET_RAW" in lines[0]
    assert len(lines) <= 2


def test_capabilities_are_gone_from_every_thread(pair: Pair) -> None:
    with peer(pair.peer, "tcp-echo") as server:
        child = start(pair, pair.peer.ipv4, server.port)
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(b"x")
        child.stdin.flush()
        assert child.stdout.read(1) == b"x"
        tasks = sorted(Path(f"/proc/{child.pid}/task").iterdir())
        # Its own threads, the pump's, the relay's, and Go's.
        assert len(tasks) > 4
        for task in tasks:
            fields = dict(
                line.split(":\t", 1)
                for line in (task / "status").read_text().splitlines()
                if ":\t" in line
            )
            for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                assert int(fields[name], 16) == 0, (task, name, fields[name])
            assert fields["NoNewPrivs"].strip() == "1"
        child.stdin.close()
        assert child.wait(20) == 0


def test_one_datagram_leaves_before_netkat_does(pair: Pair) -> None:
    """Nobody knows the next hop's MAC yet: the datagram waits for it, and so must netkat."""
    with peer(pair.peer, "udp-echo") as server:
        pair.host.ip("neigh flush dev eth0")
        done = run(pair, "-u", "--send-only", pair.peer.ipv4, server.port, input=b"only one")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert server.event("datagram")["bytes"] == 8
