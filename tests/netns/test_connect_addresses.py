"""A name with several addresses: each is tried, in the system's order, until one answers."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.netns import ROOT, Namespace, Pair
from tests.helpers.peers import peer

NOBODY = "10.99.0.3"
"""As near to the host as the peer, or RFC 6724 (rule 9) would put the peer first."""


@contextmanager
def names(space: Namespace, text: str) -> Iterator[None]:
    """An /etc/hosts of the namespace's own (ip-netns(8) mounts it)."""
    folder = Path("/etc/netns") / space.name
    folder.mkdir(parents=True)
    try:
        (folder / "hosts").write_text(text)
        yield
    finally:
        shutil.rmtree(folder)


def test_every_address_is_tried(pair: Pair) -> None:
    """Nobody has the first; the second answers."""
    hosts = f"{NOBODY} many.test\n{pair.peer.ipv4} many.test\n"
    with names(pair.host, hosts), peer(pair.peer, "tcp-echo") as server:
        argv = [
            sys.executable,
            "-m",
            "netkat",
            "-v",
            "-4",
            "-w",
            "1",
            "many.test",
            str(server.port),
        ]
        done = pair.host.run(argv, input="hello", cwd=ROOT)
    assert done.stdout == "hello"
    assert f"({NOBODY}) port {server.port} (tcp) failed" in done.stderr
    assert f"({pair.peer.ipv4}) {server.port} port" in done.stderr


def test_both_families_of_a_name(pair: Pair) -> None:
    """IPv6 is refused, IPv4 answers: a peer that listens on one family alone."""
    hosts = f"{pair.peer.ipv6} both.test\n{pair.peer.ipv4} both.test\n"
    with names(pair.host, hosts), peer(pair.peer, "tcp-echo", host="0.0.0.0") as server:
        argv = [sys.executable, "-m", "netkat", "-v", "both.test", str(server.port)]
        done = pair.host.run(argv, input="hello", cwd=ROOT)
    assert done.stdout == "hello"
    assert f"({pair.peer.ipv4}) {server.port} port" in done.stderr


def test_the_last_fault_counts(pair: Pair) -> None:
    """None answers: exit 1, and each failure is told with -v."""
    hosts = f"{pair.peer.ipv6} none.test\n{pair.peer.ipv4} none.test\n"
    with names(pair.host, hosts):
        argv = [sys.executable, "-m", "netkat", "-v", "none.test", "9"]
        done = pair.host.run(argv, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.count("Connection refused [RST from") == 2
