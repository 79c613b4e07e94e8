"""What connect and listen tell besides the bytes: -vv, --json, --progress, -o, --hex-dump."""

from __future__ import annotations

import hashlib
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.netns import ROOT, Pair
from tests.helpers.peers import pattern, peer
from tests.helpers.schemas import parsed

NETKAT = [sys.executable, "-m", "netkat"]
PORT = 7400
FACTS = ("handshake_us", "rtt_us", "mss", "peer_ttl", "retransmits")


def run(pair: Pair, *arguments: object, data: bytes = b"") -> subprocess.CompletedProcess[Any]:
    argv = [*NETKAT, *map(str, arguments)]
    return pair.host.run(argv, input=data, text=False, check=False, cwd=ROOT)


def test_vv_sums_up(pair: Pair) -> None:
    with peer(pair.peer, "tcp-echo") as server:
        done = run(pair, "-vv", pair.peer.ipv4, server.port, data=b"hello")
    lines = done.stderr.decode().splitlines()
    assert "netkat: 5 bytes sent, 5 received" in lines
    assert re.fullmatch(
        r"netkat: [\d.e+-]+ ms, handshake [\d.]+ ms, rtt [\d.]+ ms, mss 1448, peer ttl 64,"
        r" retransmits \d+",
        lines[lines.index("netkat: 5 bytes sent, 5 received") + 1],
    )


@pytest.mark.parametrize("version", [4, 6])
def test_json_is_all_that_stderr_has(pair: Pair, version: int) -> None:
    address = pair.peer.address(version)
    with peer(pair.peer, "tcp-echo") as server:
        done = run(pair, "--json", address, server.port, data=b"hello")
        assert (done.returncode, done.stdout) == (0, b"hello")
        told = parsed("connection", done.stderr)
        assert (told["sent"], told["received"], told["end_reason"]) == (5, 5, "closed")
        assert told["remote"] == {"address": address, "port": server.port}
        assert told["local"]["address"] == pair.host.address(version)
        assert told["mss"] == (1448 if version == 4 else 1428)
        assert told["peer_ttl"] == 64 and told["handshake_us"] > 0
        assert (told["error"], told["messages"]) == (None, [])


def test_json_of_what_failed(pair: Pair) -> None:
    done = run(pair, "--json", pair.peer.ipv4, PORT)
    assert (done.returncode, done.stdout) == (1, b"")
    told = parsed("connection", done.stderr)
    assert told["remote"] == {"address": pair.peer.ipv4, "port": PORT}
    assert told["error"]["kind"] == "Refused"
    assert told["error"]["details"] == {"by": "RST", "sender": pair.peer.ipv4, "ttl": 64}
    assert told["messages"][0].startswith("netkat: connect to 10.99.0.2 port 7400 (tcp) failed: ")
    with peer(pair.peer, "tcp-reset", size=5) as server:
        done = run(pair, "--json", pair.peer.ipv4, server.port, data=b"hello")
    told = parsed("connection", done.stderr)
    assert (done.returncode, told["end_reason"]) == (1, None)
    assert told["error"]["kind"] in ("ConnectionReset", "Undelivered")
    done = run(pair, "--json", "nobody.invalid", PORT)
    assert (done.returncode, parsed("connection", done.stderr)["error"]["kind"]) == (
        2,
        "NameNotFound",
    )


def test_json_of_datagrams(pair: Pair) -> None:
    with peer(pair.peer, "udp-echo") as server:
        done = run(pair, "--json", "-u", "-q", "1", pair.peer.ipv4, server.port, data=b"hello")
    told = parsed("connection", done.stderr)
    assert (done.returncode, done.stdout, told["protocol"]) == (0, b"hello", "udp")
    assert (told["sent"], told["received"], told["mss"]) == (5, 5, None)
    assert told["end_reason"] == "linger_timeout"


def test_json_of_a_signal(pair: Pair) -> None:
    with peer(pair.peer, "tcp-echo") as server:
        argv = [*NETKAT, "--json", pair.peer.ipv4, str(server.port)]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        child = pair.host.popen(argv, cwd=ROOT, **pipes)
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(b"x")
        child.stdin.flush()
        assert child.stdout.read(1) == b"x"
        child.send_signal(signal.SIGINT)
        said = child.communicate(timeout=10)[1]
    assert (child.returncode, parsed("connection", said)["end_reason"]) == (130, "cancelled")


def test_json_of_each_client(pair: Pair) -> None:
    argv = [*NETKAT, "-l", "--json", "--max-conns", "2", pair.host.ipv4, "0"]
    child = pair.host.popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stderr is not None
    port = int(re.match(rb"Listening on \S+ (\d+)", child.stderr.readline())[1])  # type: ignore[index]
    ends = []
    for data in (b"one", b"three"):
        where = (pair.host.ipv4, port)
        with pair.peer.call(lambda where=where: socket.create_connection(where)) as client:  # type: ignore[misc]
            ends.append(client.getsockname()[1])
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
            told = parsed("connection", child.stderr.readline())
        assert (told["command"], told["host"], told["received"]) == ("listen", None, len(data))
        assert told["local"] == {"address": pair.host.ipv4, "port": port}
        assert told["remote"] == {"address": pair.peer.ipv4, "port": ends[-1]}
        assert told["end_reason"] == "closed" and told["handshake_us"] > 0
    assert child.communicate(timeout=10) == (b"onethree", b"")
    assert child.returncode == 0


def test_json_of_a_listener_that_cannot(pair: Pair) -> None:
    with peer(pair.host, "tcp-sink") as server:
        done = run(pair, "-l", "--json", pair.host.ipv4, server.port)
    assert (done.returncode, parsed("connection", done.stderr)["error"]["kind"]) == (2, "PortTaken")


def test_progress_on_a_terminal_alone(pair: Pair) -> None:
    master, slave = pty.openpty()
    with peer(pair.peer, "tcp-echo") as server:
        argv = [*NETKAT, "--progress", pair.peer.ipv4, str(server.port)]
        child = pair.host.popen(
            argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=slave
        )
        os.close(slave)
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(bytes(2000))
        child.stdin.flush()
        assert child.stdout.read(2000) == bytes(2000)
        seen = b""
        while b"sent 2 kB, received 2 kB, " not in seen or b" retransmits" not in seen:
            seen += os.read(master, 65536)
        child.stdin.close()
        assert child.wait(10) == 0
        seen += os.read(master, 65536)
        assert seen.endswith(b" on average\r\n")
        os.close(master)
        child.stdout.close()
        done = run(pair, "--progress", pair.peer.ipv4, server.port, data=b"hello")
        assert (done.stdout, done.stderr) == (b"hello", b"")


def test_both_files_hold_the_session(pair: Pair, tmp_path: Path) -> None:
    data = pattern(300_000)
    raw, dump = tmp_path / "raw", tmp_path / "dump"
    with peer(pair.peer, "tcp-sink") as server:
        files = ("-o", raw, "--hex-dump", dump)
        done = run(pair, *files, pair.peer.ipv4, server.port, data=data)
    assert (done.returncode, done.stderr) == (0, b"")
    assert raw.read_bytes() == data
    rows = dump.read_text().splitlines()
    assert b"".join(bytes.fromhex(row[12:59].strip()) for row in rows) == data
    assert {row[:2] for row in rows} == {"> "}


def test_a_listeners_clients_share_the_files(pair: Pair, tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    argv = [*NETKAT, "-l", "--max-conns", "2", "--hex-dump", str(dump), pair.host.ipv4, "0"]
    child = pair.host.popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stderr is not None
    port = int(re.match(rb"Listening on \S+ (\d+)", child.stderr.readline())[1])  # type: ignore[index]
    names = []
    for data in (b"one", b"two"):
        where = (pair.host.ipv4, port)
        with pair.peer.call(lambda where=where: socket.create_connection(where)) as client:  # type: ignore[misc]
            names.append(f"{pair.peer.ipv4} {client.getsockname()[1]} < 00000000  {data.hex(' ')}")
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
    assert child.communicate(timeout=10) == (b"onetwo", b"")
    rows = dump.read_text().splitlines()
    assert [row.split("   ")[0] for row in rows] == names


def test_a_full_disk_costs_the_file_and_not_the_stream(pair: Pair) -> None:
    """A tmpfs of 64 KiB in a mount namespace of the command's own."""
    data = pattern(1_000_000)
    script = 'mount -t tmpfs -o size=64k none /mnt && exec "$@"'
    with peer(pair.peer, "tcp-echo") as server:
        argv = ["unshare", "-m", "bash", "-c", script, "bash", *NETKAT]
        argv += ["-o", "/mnt/file", pair.peer.ipv4, str(server.port)]
        done: Any = pair.host.run(argv, input=data, text=False, check=False, cwd=ROOT)
        closed = server.event("closed")
    assert (closed["bytes"], closed["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert done.stdout == data
    assert done.returncode == 1
    said = done.stderr.decode()
    assert "netkat: -o /mnt/file: No space left on device; the connection goes on without" in said
    assert f"{2 * len(data) - 65536} bytes missing from it" in said


def test_a_full_disk_behind_stdout_is_an_error(pair: Pair) -> None:
    script = 'mount -t tmpfs -o size=64k none /mnt && exec "$@" > /mnt/file'
    with peer(pair.peer, "tcp-source", size=1_000_000) as server:
        argv = ["unshare", "-m", "bash", "-c", script, "bash", *NETKAT]
        argv += [pair.peer.ipv4, str(server.port)]
        done = pair.host.run(argv, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.startswith("netkat: cannot write standard output: No space left on device")
