"""examples/: each is run as its first lines say, from a host that lets nothing out."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.netns import ROOT, Pair
from tests.helpers.nginx import nginx

FOLDER = ROOT / "examples"


@pytest.fixture
def host(pair: Pair) -> Pair:
    for tool in ("iptables-nft", "ip6tables-nft"):
        pair.host.run([tool, "-w", "-P", "OUTPUT", "DROP"])
    return pair


def example(pair: Pair, name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(FOLDER / f"{name}.py"), *map(str, arguments)]
    return pair.host.run(argv, check=False)


def test_every_example_has_a_test_and_says_how_it_is_run() -> None:
    here = Path(__file__).read_text()
    for path in FOLDER.glob("*.py"):
        assert f'"{path.stem}"' in here
        assert f"Run it: sudo .venv/bin/python examples/{path.name} " in path.read_text()


def test_banner_grab(host: Pair) -> None:
    words = ["socat", "TCP-LISTEN:22,reuseaddr", "SYSTEM:echo SSH-2.0-example; sleep 5"]
    host.peer.popen(words)
    host.peer.wait_served(22)
    done = example(host, "banner_grab", host.peer.ipv4, 22)
    assert (done.returncode, done.stdout) == (0, "b'SSH-2.0-example\\n'\n"), done.stderr
    done = example(host, "banner_grab", host.peer.ipv4, 23)
    assert done.returncode == 1
    assert re.match(r"Connection refused \[RST from .*\nnext: ", done.stderr)


def test_echo_server(host: Pair) -> None:
    name = "echo_server"
    argv = [sys.executable, str(FOLDER / f"{name}.py"), "7000", host.host.ipv4]
    server = host.host.popen(argv, stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == f"listening on {host.host.ipv4} 7000\n".encode()
    address = (host.host.ipv4, 7000)
    with host.peer.call(lambda: socket.create_connection(address, timeout=20)) as client:
        client.sendall(b"and back")
        client.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda: client.recv(100), b"")) == b"and back"
        seen = "client {} {}\n".format(*client.getsockname())
    assert server.stdout.readline() == seen.encode()


def test_source_address_check(host: Pair) -> None:
    server = host.peer.popen(
        [sys.executable, "-m", "netkat", "-lvk", "--reply", "http", host.peer.ipv4, "80"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
    )
    assert server.stderr is not None
    while b"Listening" not in (line := server.stderr.readline()):
        assert line
    done = example(host, "source_address_check", host.peer.ipv4, 80)
    ours, theirs = done.stdout.splitlines()
    assert ours.startswith("past the host's rules: ") and host.host.ipv4 in ours
    assert "timed out" in theirs


def test_sniff_a_handshake(host: Pair) -> None:
    host.peer.popen(["ncat", "-lk", "80"])
    host.peer.wait_served(80)
    done = example(host, "sniff_a_handshake", "eth0", host.peer.ipv4, 80)
    lines = done.stdout.splitlines()
    assert [re.search(r"Flags \[(.*?)\]", line)[1] for line in lines[:3]] == ["S", "S.", "."]  # type: ignore[index]
    assert re.fullmatch(r"the peer answered after \d+\.\d{3} ms", lines[3])


def test_httpx_through_the_bypass(host: Pair, tmp_path: Path) -> None:
    with nginx(host.peer, tmp_path) as server:
        (server.files / "index.html").write_text("hello from nginx\n")
        done = example(host, "httpx_through_the_bypass", f"http://{host.peer.ipv4}/")
    assert (done.returncode, done.stdout) == (0, "HTTP/1.1 200, 17 bytes\nhello from nginx\n\n")
    done = example(host, "httpx_through_the_bypass", f"http://{host.peer.ipv4}:81/")
    assert done.returncode == 1
    assert "Connection refused [RST from" in done.stdout
    assert "next: " in done.stdout
