"""TCP keepalive: probes, and the end of a peer that stops answering, beside a kernel socket."""

from __future__ import annotations

import errno
import itertools
import socket
import time
from typing import Any

import pytest

import netkat
from tests.helpers.capture import ACK, RST, capture
from tests.helpers.netns import Pair
from tests.helpers.peers import peer
from tests.helpers.three_kinds import CLOSE, KINDS, all_end, connections, sent_by, silence

IDLE, INTERVAL, COUNT = 1, 1, 3


def keep_alive(conn: Any, idle: int = IDLE, interval: int = INTERVAL, count: int = COUNT) -> None:
    """Turn it on, with these times."""
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, count)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def test_probes_of_an_idle_connection_and_its_end(pair: Pair) -> None:
    with (
        peer(pair.peer, "tcp-echo") as server,
        connections(pair, server.port) as conns,
        capture(pair.peer, "eth0", f"tcp dst port {server.port}") as seen,
    ):
        for conn in conns.values():
            keep_alive(conn)
        # Answered probes come again and again: nobody gives up.
        began = time.monotonic()
        while time.monotonic() - began < 8:
            counts = {kind: len(sent_by(seen.so_far(), conns[kind])) for kind in KINDS}
            if min(counts.values()) >= 3:
                break
        assert max(counts.values()) - min(counts.values()) <= 1, counts
        answered = len(seen.so_far())
        times = all_end(conns, lambda: silence(pair))
        for kind in ("netkat", "socket"):
            # The last answer came within IDLE seconds before.
            assert abs(times[kind] - times["kernel"]) < IDLE + CLOSE, times
            assert times[kind] < IDLE + INTERVAL * COUNT + CLOSE
        packets = seen.so_far()[answered:]
        expected = [packet.flags for packet in sent_by(packets, conns["kernel"])]
        assert expected.count(RST | ACK) == 1
        for kind in ("netkat", "socket"):
            mine = sent_by(packets, conns[kind])
            probes = [packet for packet in mine if packet.flags == ACK]
            assert abs(len(probes) - expected.count(ACK)) <= 1, kind
            assert len(probes) >= COUNT
            assert not any(packet.flags & RST for packet in mine), "docs/known-issues.md says so"
            last = itertools.pairwise(probes[-COUNT:])
            gaps = [after.time - before.time for before, after in last]
            assert all(abs(gap - INTERVAL) < 0.3 for gap in gaps), gaps


def test_an_accepted_connection_has_them_from_its_listener(pair: Pair) -> None:
    with (
        netkat.Stack(netns=pair.host.name) as stack,
        stack.create_server((pair.host.ipv4, 0)) as listener,
    ):
        keep_alive(listener, 7, 8, 9)
        port = listener.getsockname()[1]
        client = pair.peer.call(lambda: socket.create_connection((pair.host.ipv4, port), 5))
        with client, listener.accept()[0] as conn:
            for option, value in (
                (socket.TCP_KEEPIDLE, 7),
                (socket.TCP_KEEPINTVL, 8),
                (socket.TCP_KEEPCNT, 9),
            ):
                assert conn.getsockopt(socket.IPPROTO_TCP, option) == value
            assert conn.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


@pytest.mark.parametrize(
    ("option", "default", "good", "bad"),
    [
        (socket.TCP_KEEPIDLE, 7200, (1, 32767), (0, -1, 32768)),
        (socket.TCP_KEEPINTVL, 75, (1, 32767), (0, -1, 32768)),
        (socket.TCP_KEEPCNT, 9, (1, 127), (0, -1, 128)),
    ],
    ids=["idle", "interval", "count"],
)
def test_values_are_those_of_a_kernel_socket(
    pair: Pair, option: int, default: int, good: tuple[int, ...], bad: tuple[int, ...]
) -> None:
    with peer(pair.peer, "tcp-echo") as server, connections(pair, server.port) as conns:
        for kind, conn in conns.items():
            assert conn.getsockopt(socket.IPPROTO_TCP, option) == default, kind
            for value in good:
                conn.setsockopt(socket.IPPROTO_TCP, option, value)
                assert conn.getsockopt(socket.IPPROTO_TCP, option) == value, kind
            for value in bad:
                with pytest.raises(OSError) as refused:  # noqa: PT011
                    conn.setsockopt(socket.IPPROTO_TCP, option, value)
                assert refused.value.errno == errno.EINVAL, kind
                assert conn.getsockopt(socket.IPPROTO_TCP, option) == good[-1], kind
