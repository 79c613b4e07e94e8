"""Connections that are closing: how many are kept, and what they hold."""

from __future__ import annotations

import socket
import sys

import pytest

from netkat import Stack
from netkat.engine.sessions import MOST_CLOSING
from tests.helpers.capture import RST, capture
from tests.helpers.netns import ROOT, Pair

COUNT = 3000
LIMIT = 1024
PROGRAM = """
import os, resource, sys
import netkat

host, port, count, limit = sys.argv[1], *map(int, sys.argv[2:])
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
most = 0
with netkat.Stack() as stack:
    for done in range(count):
        conn = stack.create_connection((host, port), timeout=20)
        conn.fileno()  # what select() needs: some descriptors more
        conn.close()
        most = max(most, len(os.listdir("/proc/self/fd")))
    print(most)
"""


def deaf_listener(pair: Pair) -> socket.socket:
    """A listener whose program never accepts: the kernel completes the handshakes."""
    pair.peer.sysctl("net.core.somaxconn", COUNT + 100)
    pair.peer.sysctl("net.ipv4.tcp_max_syn_backlog", COUNT + 100)
    return pair.peer.call(lambda: socket.create_server((pair.peer.ipv4, 0), backlog=COUNT + 100))


def test_peer_that_does_not_accept_does_not_exhaust_descriptors(pair: Pair) -> None:
    with deaf_listener(pair) as listener:
        argv = [sys.executable, "-c", PROGRAM, pair.peer.ipv4, listener.getsockname()[1]]
        argv += [COUNT, LIMIT]
        done = pair.host.run([*map(str, argv)], cwd=ROOT, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < MOST_CLOSING + 60


def test_oldest_closing_connection_is_reset_and_its_port_free(pair: Pair) -> None:
    with deaf_listener(pair) as listener, Stack(netns=pair.host.name) as stack:
        port = listener.getsockname()[1]
        with capture(pair.peer, expression=f"dst port {port}") as seen:
            ports = []
            for _ in range(MOST_CLOSING + 2):
                with stack.create_connection((pair.peer.ipv4, port), timeout=20) as conn:
                    ports.append(conn.getsockname()[1])
        reset = [p.source_port for p in seen.packets if p.flags & RST]
        assert reset == ports[:2]
        for number in ports[:2]:
            with pair.host.call(socket.socket) as free:
                free.bind((pair.host.ipv4, number))
        with pair.host.call(socket.socket) as taken, pytest.raises(OSError, match="in use"):
            taken.bind((pair.host.ipv4, ports[2]))


def test_port_can_be_listened_on_again_while_its_connections_go_on(pair: Pair) -> None:
    with Stack(netns=pair.host.name) as stack:
        listener = stack.create_server((pair.host.ipv4, 0))
        port = listener.getsockname()[1]
        open_ones = []
        for _ in range(3):
            with pair.peer.call(socket.socket) as client:
                client.settimeout(10)
                client.connect((pair.host.ipv4, port))
                closed, _ = listener.accept()
                kept_client = pair.peer.call(
                    lambda: socket.create_connection((pair.host.ipv4, port), timeout=10)
                )
                kept, _ = listener.accept()
                open_ones.append((kept, kept_client))
                closed.close()  # first: its TIME-WAIT is on this side
                listener.close()
                listener = stack.create_server((pair.host.ipv4, port))
                assert client.recv(1) == b""
        for kept, kept_client in open_ones:
            kept.sendall(b"still here")
            assert kept_client.recv(64) == b"still here"
            kept.close()
            kept_client.close()
        with pytest.raises(OSError, match="in use"):
            stack.create_server((pair.host.ipv4, port))
        listener.close()
