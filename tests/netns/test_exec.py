"""-e and -c between namespaces, beside ncat: the same variables and bytes, nothing inherited."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.netns import ROOT, Pair

NETKAT = [sys.executable, "-m", "netkat"]
PORT = 7400
VARIABLES = "echo $NCAT_PROTO $NCAT_REMOTE_ADDR $NCAT_LOCAL_ADDR $NCAT_LOCAL_PORT"


class Listening:
    """A listener with a command, netkat's or ncat's, that is ready for clients."""

    def __init__(self, pair: Pair, tool: str, *options: str, host: str, port: int = PORT) -> None:
        argv = [*NETKAT, "-v"] if tool == "netkat" else ["ncat", "-v"]
        self.child: subprocess.Popen[bytes] = pair.host.popen(
            [*argv, "-l", *options, host, str(port)], cwd=ROOT, stderr=subprocess.PIPE
        )
        self.stderr = b""
        self.wait_for(rb"Listening on [^\n]*\n")

    def wait_for(self, expression: bytes) -> re.Match[bytes]:
        """The first place in stderr where it stands."""
        assert self.child.stderr is not None
        end = time.monotonic() + 15
        while not (found := re.search(expression, self.stderr, re.MULTILINE)):
            ready = select.select([self.child.stderr], [], [], max(0, end - time.monotonic()))[0]
            chunk = os.read(self.child.stderr.fileno(), 65536) if ready else b""
            assert chunk, f"never said {expression!r}: {self.stderr!r}"
            self.stderr += chunk
        return found

    def end(self) -> int:
        """Its exit code, once it ends by itself."""
        _, rest = self.child.communicate(timeout=20)
        self.stderr += rest
        return self.child.returncode


def dial(pair: Pair, host: str, port: int = PORT) -> socket.socket:
    client = pair.peer.call(lambda: socket.create_connection((host, port), timeout=10))
    client.settimeout(10)
    return client


def everything(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(1 << 16), b""))


@pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
def test_the_variables_are_ncats(pair: Pair, version: int) -> None:
    host = pair.host.address(version)
    said = {}
    for port, tool in enumerate(("ncat", "netkat"), PORT):
        listener = Listening(pair, tool, "-c", VARIABLES, host=host, port=port)
        with dial(pair, host, port) as client:
            said[tool] = everything(client).replace(str(port).encode(), b"PORT")
        assert listener.end() == 0
    assert said["netkat"] == said["ncat"]
    assert said["netkat"] == f"TCP {pair.peer.address(version)} {host} PORT\n".encode()


@pytest.mark.parametrize(
    ("tool", "answer"), [("ncat", b""), ("netkat", b"apple\npear\n")], ids=["ncat", "netkat"]
)
def test_half_close_reaches_the_command(pair: Pair, tool: str, answer: bytes) -> None:
    """sort answers at its end of input: ncat is gone by then, on purpose netkat is not."""
    listener = Listening(pair, tool, "-e", "/usr/bin/sort", host=pair.host.ipv4)
    with dial(pair, pair.host.ipv4) as client:
        client.sendall(b"pear\napple\n")
        client.shutdown(socket.SHUT_WR)
        assert everything(client) == answer
    assert listener.end() == 0


@pytest.mark.parametrize("kernel", [[], ["--kernel"]], ids=["bypass", "kernel"])
def test_connect_runs_a_command_and_ends_with_its_status(pair: Pair, kernel: list[str]) -> None:
    words = ["nc", "-N", "-l", pair.peer.ipv4, str(PORT)]
    server = pair.peer.popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    line = 'read word; echo "$NCAT_REMOTE_ADDR heard $word"; exit 3'
    argv = [*NETKAT, *kernel, "-w10", "-c", line, pair.peer.ipv4, str(PORT)]
    deadline = time.monotonic() + 10
    while not pair.peer.run(["ss", "-Hltn", f"sport = :{PORT}"]).stdout:
        assert time.monotonic() < deadline
    child = pair.host.popen(argv, cwd=ROOT, stderr=subprocess.PIPE)
    out, _ = server.communicate(b"you\n", timeout=20)
    assert out == f"{pair.peer.ipv4} heard you\n".encode()
    _, said = child.communicate(timeout=20)
    assert child.returncode == 3
    assert said.decode() == f"netkat: {line} exited with status 3\n"


def test_many_clients_a_command_each_with_nothing_inherited(pair: Pair) -> None:
    """Each has its own process: no capability, no_new_privs, three descriptors and no more."""
    script = "grep -E '^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs)' /proc/self/status; ls /proc/$$/fd; cat"
    listener = Listening(pair, "netkat", "-k", "-c", script, host=pair.host.ipv4)
    clients = [dial(pair, pair.host.ipv4) for _ in range(8)]
    for number, client in enumerate(clients):
        client.sendall(b"client %d" % number)
        client.shutdown(socket.SHUT_WR)
    for number, client in enumerate(clients):
        said = everything(client).decode()
        client.close()
        assert re.findall(r"^Cap\w+:\t0+$", said, re.MULTILINE).__len__() == 4, said
        assert "NoNewPrivs:\t1\n0\n1\n2\n" in said
        assert said.endswith(f"\nclient {number}")
    listener.child.send_signal(signal.SIGTERM)
    assert listener.end() == 143


@pytest.mark.parametrize("options", [[], ["-k"]], ids=["one", "many"])
def test_a_signal_to_netkat_ends_the_commands(pair: Pair, options: list[str]) -> None:
    listener = Listening(pair, "netkat", *options, "-c", "echo $$; sleep 1000", host=pair.host.ipv4)
    with dial(pair, pair.host.ipv4) as client:
        pid = int(client.recv(100))
        assert Path(f"/proc/{pid}").exists()
        listener.child.send_signal(signal.SIGINT)
        assert listener.end() == 130
        assert not Path(f"/proc/{pid}").exists()
        with pytest.raises(ConnectionResetError):
            client.recv(100)


def test_datagrams_have_a_command_too(pair: Pair) -> None:
    script = "read word; echo $NCAT_PROTO got $word"
    listener = Listening(pair, "netkat", "-u", "-c", script, host=pair.host.ipv4)
    client = pair.peer.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with client:
        client.settimeout(10)
        client.sendto(b"hello\n", (pair.host.ipv4, PORT))
        assert client.recv(100) == b"UDP got hello\n"
    assert listener.end() == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-e", "frobnicate --now"], "netkat: -e: no such program: frobnicate"),
        (["-e", "cat", "-c", "cat"], "netkat: -e and -c cannot be used together"),
        (["-z", "-e", "cat"], "netkat: -e and -z cannot be used together"),
        (["-e", "'"], 'netkat: -e: "\'": No closing quotation'),
        (["-luk", "-e", "cat"], "netkat: -e and -k with -u cannot be used together"),
        (["-l", "--reply", "echo", "-c", "cat"], "netkat: -c and --reply cannot be used together"),
    ],
)
def test_conflicting_options(words: list[str], message: str) -> None:
    done: Any = subprocess.run(
        [*NETKAT, *words, "192.0.2.1", "1"], cwd=ROOT, capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, message)
