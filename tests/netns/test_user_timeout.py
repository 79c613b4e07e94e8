"""TCP_USER_TIMEOUT: how long sent data and probes may remain unacknowledged, as in the kernel."""

from __future__ import annotations

import errno
import socket
import time

import pytest

from tests.helpers.netns import Pair
from tests.helpers.peers import peer
from tests.helpers.three_kinds import CLOSE, all_end, connections, silence

SECONDS = 3
RETRANSMIT = 0.3
"""Seconds: the kernel counts from the first retransmission, gVisor from the packet itself."""


def test_unacknowledged_data(pair: Pair) -> None:
    with peer(pair.peer, "tcp-echo") as server, connections(pair, server.port) as conns:
        for conn in conns.values():
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SECONDS * 1000)
            conn.sendall(b"x")
            assert conn.recv(1) == b"x"

        def send_into_silence() -> None:
            silence(pair)
            for conn in conns.values():
                conn.sendall(b"nobody acknowledges this")

        times = all_end(conns, send_into_silence)
        for kind, seconds in times.items():
            assert SECONDS - 0.1 < seconds < SECONDS + RETRANSMIT + CLOSE, (kind, times)


def test_it_replaces_the_count_of_probes(pair: Pair) -> None:
    """More than one probe at a second's distance; without it the first would be the last."""
    with peer(pair.peer, "tcp-echo") as server, connections(pair, server.port) as conns:
        for conn in conns.values():
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT):
                conn.setsockopt(socket.IPPROTO_TCP, option, 1)
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 5000)
            assert conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 1
        times = all_end(conns, lambda: silence(pair))
        for kind, seconds in times.items():
            assert abs(seconds - times["kernel"]) < 1 + CLOSE, (kind, times)
            assert seconds > 3.5, (kind, times)


def test_without_it_the_connection_goes_on(pair: Pair) -> None:
    with peer(pair.peer, "tcp-echo") as server, connections(pair, server.port) as conns:
        for conn in conns.values():
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000)
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 0)
        silence(pair)
        for conn in conns.values():
            conn.sendall(b"kept")
        end = time.monotonic() + 3
        for conn in conns.values():
            conn.settimeout(max(0.1, end - time.monotonic()))
            with pytest.raises(TimeoutError):
                conn.recv(1)
        pair.peer.run(["nft", "flush", "ruleset"])
        for conn in conns.values():
            conn.settimeout(10)
            assert conn.recv(4) == b"kept"


def test_values_are_those_of_a_kernel_socket(pair: Pair) -> None:
    option = socket.TCP_USER_TIMEOUT
    with peer(pair.peer, "tcp-echo") as server, connections(pair, server.port) as conns:
        for kind, conn in conns.items():
            assert conn.getsockopt(socket.IPPROTO_TCP, option) == 0, kind
            for value in (1, 0x7FFFFFFF, 2500):
                conn.setsockopt(socket.IPPROTO_TCP, option, value)
                assert conn.getsockopt(socket.IPPROTO_TCP, option) == value, kind
            with pytest.raises(OSError) as refused:  # noqa: PT011
                conn.setsockopt(socket.IPPROTO_TCP, option, -1)
            assert refused.value.errno == errno.EINVAL, kind
            assert conn.getsockopt(socket.IPPROTO_TCP, option) == 2500, kind
