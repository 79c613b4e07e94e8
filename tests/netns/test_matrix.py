"""A connection lives through every firewall of its own host, by every step of the ladder.

{TCP, UDP} x {IPv4, IPv6} x rule sets x {1 byte, 10 MB both ways at once}: the
whole of it at the top step, one case of each value at every other step, and the
whole of it at each step with the tests that take long.
"""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.helpers.netns import ROOT, Pair, netns_pair
from tests.helpers.peers import Peer, number_of, numbered, pattern, peer
from tests.helpers.rules import MATRIX, RuleSet

BULK = 10_000_000
RATE = 5_000
DATAGRAM = 1_400
DATAGRAMS = BULK // DATAGRAM
STEPS = ("clsact", "cbpf", "socket")
SAMPLE = {
    "none": ("tcp", 4),
    "output/iptables-nft": ("udp", 6),
    "input/iptables-legacy": ("tcp", 6),
    "raw/nft": ("udp", 4),
    "inet": ("tcp", 4),
    "all/nft": ("udp", 6),
}
"""One case of each value: every protocol, family, hook and tool, with both loads."""


@dataclass
class Ground:
    """One pair of namespaces under one firewall, with its peers."""

    pair: Pair
    rules: RuleSet
    echo: Peer
    duplex: Peer
    udp_echo: Peer


@pytest.fixture(scope="module", params=MATRIX, ids=str)
def ground(request: pytest.FixtureRequest) -> Iterator[Ground]:
    """Rules are on netkat's own host; the peer has none."""
    with ExitStack() as undo:
        pair = undo.enter_context(netns_pair("nkm"))
        request.param.load(pair.host)
        peers = [
            undo.enter_context(peer(pair.peer, "tcp-echo")),
            undo.enter_context(peer(pair.peer, "tcp-duplex", size=BULK, seed="peer")),
            undo.enter_context(peer(pair.peer, "udp-echo")),
        ]
        yield Ground(pair, request.param, *peers)


def netkat(*arguments: str) -> list[str]:
    """The command as a user would call it."""
    return [sys.executable, "-m", "netkat", *arguments]


def tcp_byte(ground: Ground, version: int, step: str) -> None:
    """One byte there and back."""
    argv = netkat("--guard", step, ground.pair.peer.address(version), str(ground.echo.port))
    done = ground.pair.host.run(argv, input=b"x", text=False, cwd=ROOT)
    assert done.stdout == b"x"  # type: ignore[comparison-overlap]
    event = ground.echo.event("closed")
    assert event["bytes"] == 1
    assert event["peer"][0] == ground.pair.host.address(version)


def tcp_bulk(ground: Ground, version: int, step: str) -> None:
    """10 MB both ways at once, compared by hash at both ends."""
    ours, theirs = pattern(BULK, "ours"), pattern(BULK, "peer")
    argv = netkat("--guard", step, ground.pair.peer.address(version), str(ground.duplex.port))
    done = ground.pair.host.run(argv, input=ours, text=False, cwd=ROOT)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(theirs).digest()  # type: ignore[arg-type]
    event = ground.duplex.event("closed")
    assert event["bytes"] == BULK
    assert event["sha256"] == hashlib.sha256(ours).hexdigest()


class UdpNetkat:
    """netkat -u with a message socket for stdin and stdout, so that a datagram stays one."""

    def __init__(self, ground: Ground, version: int, step: str, port: int) -> None:
        self.near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.near.settimeout(10)
        argv = netkat("-u", "--guard", step, ground.pair.peer.address(version), str(port))
        self.child = ground.pair.host.popen(
            argv, stdin=far, stdout=far, stderr=subprocess.PIPE, cwd=ROOT
        )
        far.close()

    def close(self) -> None:
        """End of input; netkat would wait 2 s for more, so it is ended."""
        self.child.terminate()
        _, errors = self.child.communicate(timeout=5)
        self.near.close()
        assert self.child.returncode == 143, errors.decode()


def udp_byte(ground: Ground, version: int, step: str) -> None:
    """One byte there and back."""
    client = UdpNetkat(ground, version, step, ground.udp_echo.port)
    try:
        client.near.send(b"x")
        assert client.near.recv(65536) == b"x"
    finally:
        client.close()
    assert ground.udp_echo.event("datagram")["peer"][0] == ground.pair.host.address(version)


def udp_bulk(ground: Ground, version: int, step: str) -> None:
    """10 MB as numbered datagrams, 5,000 a second each way at once, each exactly once."""
    seen: list[int | None] = []
    with peer(ground.pair.peer, "udp-duplex", count=DATAGRAMS, size=DATAGRAM, rate=RATE) as other:
        client = UdpNetkat(ground, version, step, other.port)
        try:
            reader = threading.Thread(target=read_series, args=(client.near, seen))
            reader.start()
            send_series(client.near)
            reader.join(timeout=15)
            assert seen == list(range(DATAGRAMS))
            settle = time.monotonic() + 5
            while (tally := other.tally())["received"] < DATAGRAMS and time.monotonic() < settle:
                time.sleep(0.02)
            assert (tally["unique"], tally["doubled"], tally["missing"]) == (DATAGRAMS, 0, [])
        finally:
            client.close()


def send_series(near: socket.socket) -> None:
    """Ten at a time, so that sleeping is not what is measured."""
    began = time.monotonic()
    for number in range(DATAGRAMS):
        if number % 10 == 0:
            time.sleep(max(0.0, began + number / RATE - time.monotonic()))
        near.send(numbered(number, DATAGRAM))


def read_series(near: socket.socket, seen: list[int | None]) -> None:
    """As many as were sent; the timeout of the socket ends a short series."""
    while len(seen) < DATAGRAMS:
        try:
            seen.append(number_of(near.recv(65536)))
        except TimeoutError:
            return


CASES = {
    ("tcp", "byte"): tcp_byte,
    ("tcp", "bulk"): tcp_bulk,
    ("udp", "byte"): udp_byte,
    ("udp", "bulk"): udp_bulk,
}


@pytest.mark.parametrize("load", ["byte", "bulk"])
@pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_top_step(ground: Ground, protocol: str, version: int, load: str) -> None:
    """The whole matrix behind tcx."""
    CASES[protocol, load](ground, version, "tcx")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("load", ["byte", "bulk"])
@pytest.mark.parametrize(
    "ground", [rules for rules in MATRIX if str(rules) in SAMPLE], indirect=True, ids=str
)
def test_one_of_each(ground: Ground, step: str, load: str) -> None:
    """One case of each value at every other step."""
    protocol, version = SAMPLE[str(ground.rules)]
    CASES[protocol, load](ground, version, step)


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("load", ["byte", "bulk"])
@pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_every_step(ground: Ground, protocol: str, version: int, load: str, step: str) -> None:
    """The whole matrix at every other step."""
    CASES[protocol, load](ground, version, step)
