"""Much, both ways at once, between netkat and each real netcat: what arrives is what was sent.

The bytes are a cipher's key stream, made and hashed in pipes: no file is as large.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache

import pytest

from tests.helpers.netns import ROOT, Namespace, Pair

NETKAT = f"{sys.executable} -m netkat"
PORT = 7600
MB = 1_000_000
CLIENTS = {
    "nc": "nc -N {host} {port}",
    "ncat": "ncat {host} {port}",
    "socat": "socat -t 60 - TCP:{host}:{port}",
}
SERVERS = {
    "nc": "nc -N -l {port}",
    "ncat": "ncat -l {port}",
    "socat": "socat -t 60 - TCP-LISTEN:{port},reuseaddr",
}
LEAVES_WITH_THE_CLIENT = {"nc", "ncat"}
"""As servers they end with the client's FIN, and what they had not read of their input is lost."""


def sizes(usual: str) -> pytest.MarkDecorator:
    """64 MB with the usual tool; a gigabyte with it, and less with others, where there is time."""
    slow = [pytest.mark.slow, pytest.mark.timeout(600)]
    much = {tool: (1000 if tool == usual else 200) * MB for tool in CLIENTS}
    return pytest.mark.parametrize(
        ("tool", "size"),
        [(usual, 64 * MB), *(pytest.param(*each, marks=slow) for each in much.items())],
    )


def stream(size: int, key: int) -> str:
    """A command line that prints ``size`` bytes, others with another key."""
    cipher = f"openssl enc -aes-128-ctr -nosalt -K {key:032x} -iv {0:032x}"
    return f"head -c {size} /dev/zero | {cipher}"


@cache
def digest(size: int, key: int) -> str:
    line = f"{stream(size, key)} | sha256sum"
    return subprocess.run(line, shell=True, capture_output=True, check=True, text=True).stdout


def start(space: Namespace, size: int, key: int, line: str) -> subprocess.Popen[str]:
    """Puts the stream into a command; says the hash of what that prints. Its exit code is kept."""
    whole = f"set -o pipefail; {stream(size, key)} | {line} | sha256sum"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return space.popen(["bash", "-c", whole], cwd=ROOT, **pipes)


def ended(child: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, hash, words."""
    out, said = child.communicate(timeout=500)
    return child.returncode, out, said


@sizes("socat")
def test_connect(pair: Pair, tool: str, size: int) -> None:
    words = {"host": pair.peer.ipv4, "port": PORT}
    server = start(pair.peer, size, 2, SERVERS[tool].format(**words))
    pair.peer.wait_served(PORT)
    options = "--no-shutdown" if tool in LEAVES_WITH_THE_CLIENT else ""
    client = start(pair.host, size, 1, f"{NETKAT} {options} {pair.peer.ipv4} {PORT}")
    assert ended(client) == (0, digest(size, 2), "")
    assert ended(server) == (0, digest(size, 1), "")


@sizes("nc")
def test_listen(pair: Pair, tool: str, size: int) -> None:
    words = {"host": pair.host.ipv4, "port": PORT}
    server = start(pair.host, size, 2, f"{NETKAT} -v -l {pair.host.ipv4} {PORT}")
    assert server.stderr is not None
    while not server.stderr.readline().startswith("Listening on "):
        assert server.poll() is None
    client = start(pair.peer, size, 1, CLIENTS[tool].format(**words))
    assert ended(client) == (0, digest(size, 2), "")
    code, got, said = ended(server)
    assert (code, got) == (0, digest(size, 1)), said
    assert f"netkat: {size} bytes sent, {size} received" in said
