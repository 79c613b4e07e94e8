"""SO_LINGER: a RST at close, or a close that waits, beside a kernel socket."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import netkat
from tests.helpers.capture import FIN, Capture, capture
from tests.helpers.netns import Pair
from tests.helpers.peers import peer
from tests.helpers.three_kinds import KINDS, connections

SECONDS = 2
MUCH = bytes(4 << 20)
WAITING = ("kernel", "netkat")
"""Whose close() can wait."""


def linger(seconds: int) -> tuple[int, int, bytes]:
    return socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds)


@contextmanager
def accepted(pair: Pair) -> Iterator[tuple[dict[str, Any], dict[str, socket.socket]]]:
    """Connections of each kind, and their other ends in the peer's kernel, by kind."""
    server = pair.peer.call(lambda: socket.create_server((pair.peer.ipv4, 0), backlog=10))
    with server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        with connections(pair, server.getsockname()[1]) as conns:
            ends = {end.getpeername()[1]: end for end in (server.accept()[0] for _ in conns)}
            try:
                yield (
                    conns,
                    {kind: ends[conn.getsockname()[1]] for kind, conn in conns.items()},
                )
            finally:
                for end in ends.values():
                    end.close()


def received(end: socket.socket) -> tuple[int, bool]:
    """How many bytes came until the end, and whether it was one in order."""
    end.settimeout(20)
    count = 0
    try:
        while data := end.recv(1 << 16):
            count += len(data)
    except ConnectionResetError:
        return count, False
    return count, True


def fill(conn: Any) -> int:
    """Send until nothing more is taken; how many bytes were."""
    conn.settimeout(0.5)
    sent = 0
    try:
        while True:
            sent += conn.send(MUCH)
    except TimeoutError:
        return sent


def fins_and_resets(seen: Capture, port: int) -> tuple[int, int]:
    packets = [packet for packet in seen.so_far() if packet.source_port == port]
    return sum(bool(one.flags & FIN) for one in packets), sum(one.rst for one in packets)


def test_a_time_of_0_resets(pair: Pair) -> None:
    with accepted(pair) as (conns, ends), capture(pair.peer, "eth0", "tcp") as seen:
        for kind in KINDS:
            port = conns[kind].getsockname()[1]
            conns[kind].setsockopt(*linger(0))
            conns[kind].sendall(b"sent before")
            assert ends[kind].recv(100) == b"sent before"
            conns[kind].close()
            assert received(ends[kind]) == (0, False), kind
            assert fins_and_resets(seen, port) == (0, 1), kind


def test_a_time_of_0_discards_what_is_unsent(pair: Pair) -> None:
    """The peer does not read: most of it is still in the send buffer."""
    with accepted(pair) as (conns, ends):
        for kind in KINDS:
            conns[kind].setsockopt(*linger(0))
            sent = fill(conns[kind])
            conns[kind].close()
            count, in_order = received(ends[kind])
            assert not in_order and count < sent, kind


def test_turned_off_again_it_is_a_fin(pair: Pair) -> None:
    with accepted(pair) as (conns, ends):
        for kind in KINDS:
            conns[kind].setsockopt(*linger(0))
            conns[kind].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 9))
            conns[kind].sendall(b"x")
            conns[kind].close()
            assert received(ends[kind]) == (1, True), kind


def seconds_to_close(conn: Any) -> float:
    began = time.monotonic()
    conn.close()
    return time.monotonic() - began


def test_close_waits_for_the_time_and_goes_on_afterwards(pair: Pair) -> None:
    """The peer's window is closed, so that nothing more is acknowledged."""
    with accepted(pair) as (conns, ends):
        for kind in WAITING:
            conn = conns[kind]
            conn.setsockopt(*linger(SECONDS))
            sent = fill(conn)
            assert abs(seconds_to_close(conn) - SECONDS) < 0.3, kind
            assert received(ends[kind]) == (sent, True), kind


def test_close_returns_when_all_is_acknowledged(pair: Pair) -> None:
    with accepted(pair) as (conns, ends):
        for kind in WAITING:
            conn = conns[kind]
            conn.setsockopt(*linger(20))
            found: list[tuple[int, bool]] = []

            def read_later(end: socket.socket = ends[kind], found: Any = found) -> None:
                time.sleep(1)
                found.append(received(end))

            reader = threading.Thread(target=read_later)
            reader.start()
            conn.sendall(MUCH)
            assert seconds_to_close(conn) < 5, kind
            # The FIN was acknowledged: there is nothing left to wait for.
            reader.join(1)
            assert found == [(len(MUCH), True)], kind


def test_an_idle_connection_closes_at_once(pair: Pair) -> None:
    with accepted(pair) as (conns, ends):
        for kind in WAITING:
            conns[kind].setsockopt(*linger(20))
            assert seconds_to_close(conns[kind]) < 0.5, kind
            assert received(ends[kind]) == (0, True), kind


def test_values(pair: Pair) -> None:
    with accepted(pair) as (conns, _):
        for kind, conn in conns.items():
            assert conn.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == bytes(8), kind
            conn.setsockopt(*linger(0))
            assert conn.getsockopt(*linger(0)[:2], 8) == linger(0)[2], kind
            assert conn.getsockopt(*linger(0)[:2]) == 1, kind
            for short in (1, b"\1\0\0\0"):
                with pytest.raises(OSError) as refused:  # noqa: PT011
                    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, short)
                assert refused.value.errno == errno.EINVAL, kind
        for kind in WAITING:
            conns[kind].setsockopt(*linger(7))
            assert conns[kind].getsockopt(*linger(7)[:2], 8) == linger(7)[2], kind


def test_a_socket_that_cannot_wait_refuses_a_time(pair: Pair) -> None:
    with accepted(pair) as (conns, _):
        handed = conns["socket"]
        handed.setsockopt(*linger(0))
        with pytest.raises(OSError, match="SO_LINGER with a time") as refused:
            handed.setsockopt(*linger(5))
        assert refused.value.errno == errno.EOPNOTSUPP
        assert handed.getsockopt(*linger(0)[:2], 8) == linger(0)[2]
        conns["netkat"].setsockopt(*linger(5))
        with pytest.raises(OSError, match="SO_LINGER with a time"):
            conns["netkat"].as_socket()
        for option in (socket.SO_MARK, socket.SO_PRIORITY, socket.SO_REUSEADDR):
            with pytest.raises(OSError, match="no option") as unknown:
                handed.setsockopt(socket.SOL_SOCKET, option, 1)
            assert unknown.value.errno == errno.ENOPROTOOPT


def test_datagrams_have_nothing_to_linger_for(pair: Pair) -> None:
    with (
        peer(pair.peer, "udp-echo") as server,
        netkat.Stack(netns=pair.host.name) as stack,
        stack.open_datagram((pair.peer.ipv4, server.port)) as conn,
        pytest.raises(OSError, match="no option") as refused,
    ):
        conn.setsockopt(*linger(0))
    assert refused.value.errno == errno.ENOPROTOOPT


def test_an_accepted_connection_has_it_from_its_listener(pair: Pair) -> None:
    with (
        netkat.Stack(netns=pair.host.name) as stack,
        stack.create_server((pair.host.ipv4, 0)) as listener,
    ):
        listener.setsockopt(*linger(0))
        port = listener.getsockname()[1]
        client = pair.peer.call(lambda: socket.create_connection((pair.host.ipv4, port), 5))
        with client:
            listener.accept()[0].close()
            assert received(client) == (0, False)


def test_asyncio_stream(pair: Pair) -> None:
    server = pair.peer.call(lambda: socket.create_server((pair.peer.ipv4, 0)))
    address = server.getsockname()

    async def reset() -> None:
        with netkat.Stack(netns=pair.host.name) as stack:
            _, writer = await netkat.open_connection(*address, stack=stack)
            writer.get_extra_info("socket").setsockopt(*linger(0))
            writer.write(b"x")
            await writer.drain()
            end = server.accept()[0]
            with end:
                assert end.recv(1) == b"x"
                writer.close()
                await writer.wait_closed()
                assert received(end) == (0, False)

    with server:
        asyncio.run(reset())
