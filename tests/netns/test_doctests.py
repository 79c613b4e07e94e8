"""The examples of docs/api.md and all other docstrings, run from a host that lets nothing out."""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.netns import Pair
from tests.helpers.nginx import nginx
from tests.helpers.peers import peer
from tests.helpers.sniff_frames import ether, ip4, tcp

SERVICE, NODE = "10.111.111.129", "172.30.0.12"


@contextmanager
def knocking(pair: Pair, ports: range) -> Iterator[None]:
    """A client outside that connects to the host whenever somebody listens on one of the ports."""
    over = threading.Event()

    def knock() -> None:
        while not over.wait(0.05):
            for port in ports:
                with socket.socket() as client:
                    client.settimeout(0.5)
                    try:
                        client.connect((pair.host.ipv4, port))
                        while client.recv(100):
                            pass
                    except OSError:
                        pass  # nobody listens yet

    thread = threading.Thread(target=lambda: pair.peer.call(knock))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def a_capture() -> bytes:
    """A pcap file of one SYN."""
    segment = tcp(40000, 80, flags=2, seq=1, window=64240, source="192.0.2.1", target=SERVICE)
    frame = ether(0x0800, ip4(6, segment, source="192.0.2.1", target=SERVICE))
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
    return header + struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame


@pytest.fixture
def cluster(pair: Pair, tmp_path: Path) -> Iterator[Pair]:
    """The examples' addresses, a service behind a node; nothing of the kernel's leaves the host."""
    pair.peer.ip(f"addr add {NODE}/24 dev eth0", f"addr add {SERVICE}/32 dev lo")
    pair.host.ip("addr add 172.30.0.11/24 dev eth0", f"route add default via {NODE}")
    for tool in ("iptables-nft", "ip6tables-nft"):
        pair.host.run([tool, "-w", "-P", "OUTPUT", "DROP"])
    (tmp_path / "web.pcap").write_bytes(a_capture())
    with nginx(pair.peer, tmp_path) as server, peer(pair.peer, "udp-echo", host=SERVICE, port=7):
        (server.files / "index.html").write_text("hello\n")
        with knocking(pair, range(8080, 8083)):
            yield pair


def test_the_examples_of_the_page_hold(cluster: Pair, tmp_path: Path) -> None:
    argv = [sys.executable, "-W", "error", "-m", "tests.helpers.doctests"]
    done = cluster.host.run(argv, cwd=tmp_path, check=False, timeout=60)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    if said := "".join(one["said"] for one in told):
        pytest.fail(said, pytrace=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [one["name"] for one in told if one["failed"]] == []
    assert len(told) >= 25
