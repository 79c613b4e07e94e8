"""A connection behaves as a socket does: files, options, readiness, timeouts, errors."""

from __future__ import annotations

import errno
import io
import select
import selectors
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import netkat
from netkat.conn import TcpConnection, UdpConnection
from netkat.errors import ConnectionReset, NameNotFound, NoRoute, PortTaken, Refused, TimedOut
from tests.helpers.netns import Pair
from tests.helpers.peers import Peer, pattern, peer

FACTS = {
    (socket.SOL_SOCKET, socket.SO_TYPE): socket.SOCK_STREAM,
    (socket.SOL_SOCKET, socket.SO_PROTOCOL): socket.IPPROTO_TCP,
    (socket.SOL_SOCKET, socket.SO_ERROR): 0,
}
OF_IPV4 = [(socket.IPPROTO_IP, socket.IP_TTL, 9), (socket.IPPROTO_IP, socket.IP_TOS, 0x10)]
OF_IPV6 = [
    (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 9),
    (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0x10),
]
OF_TCP = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]


@contextmanager
def connected(
    pair: Pair, kind: str = "tcp-echo", version: int = 4, **options: int
) -> Iterator[tuple[TcpConnection, Peer]]:
    """A connection from the host's namespace to a peer."""
    with (
        peer(pair.peer, kind, **options) as server,  # type: ignore[arg-type]
        netkat.Stack(netns=pair.host.name) as stack,
        stack.create_connection((pair.peer.address(version), server.port), 5) as conn,
    ):
        yield conn, server


@contextmanager
def datagrams(pair: Pair) -> Iterator[UdpConnection]:
    with (
        peer(pair.peer, "udp-echo") as server,
        netkat.Stack(netns=pair.host.name) as stack,
        stack.open_datagram((pair.peer.ipv4, server.port), 5) as conn,
    ):
        yield conn


def test_it_says_what_it_is(pair: Pair) -> None:
    with connected(pair) as (conn, server):
        assert (conn.family, conn.type, conn.proto) == (
            socket.AF_INET,
            socket.SOCK_STREAM,
            socket.IPPROTO_TCP,
        )
        assert conn.getpeername() == (pair.peer.ipv4, server.port)
        assert conn.getsockname()[0] == pair.host.ipv4
        assert "open" in repr(conn) and str(server.port) in repr(conn)
        conn.sendall(b"x")
        assert conn.recv(1) == b"x"
        info = conn.info()
        assert info.rtt > 0 and info.cwnd > 1 and info.retransmits == 0 and info.mss > 1000
        with pytest.raises(AttributeError):
            info.rtt = 1  # type: ignore[misc]
    assert "closed" in repr(conn)
    assert conn.fileno() == -1


def test_a_file_outlives_the_connection_object(pair: Pair) -> None:
    data = pattern(300_000)
    with connected(pair) as (conn, server):
        with conn.makefile("rwb") as stream:
            conn.close()
            stream.write(data)
            stream.flush()
            assert stream.read(len(data)) == data
        with pytest.raises(OSError, match="closed"):
            conn.recv(1)
        assert server.event("closed")["bytes"] == len(data)


def test_files_of_text_and_lines(pair: Pair) -> None:
    with (
        connected(pair) as (conn, _),
        conn.makefile("rw", encoding="utf-8", newline="\n") as stream,
    ):
        print("first\nsecond", file=stream, flush=True)
        assert stream.readline() == "first\n"
        assert stream.readline() == "second\n"
        conn.shutdown(socket.SHUT_WR)
        assert stream.read() == ""


def test_sendmsg_is_one_piece_of_the_stream_and_one_datagram(pair: Pair) -> None:
    with connected(pair) as (conn, _):
        assert conn.sendmsg([b"a", memoryview(b"bc"), bytearray(b"d")]) == 4
        with conn.makefile("rb") as stream:
            assert stream.read(4) == b"abcd"
        with pytest.raises(OSError, match="ancillary"):
            conn.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, b"")])
    with datagrams(pair) as udp:
        assert udp.sendmsg([b"one ", b"datagram"]) == 12
        assert udp.recvfrom(100) == (b"one datagram", udp.getpeername())
        with pytest.raises(OSError, match="peer") as refused:
            udp.sendmsg([b"x"], (), 0, ("10.0.0.1", 1))
        assert refused.value.errno == errno.EISCONN


@pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
def test_options_that_exist(pair: Pair, version: int) -> None:
    with connected(pair, version=version) as (conn, _):
        for level, option, value in (*OF_TCP, *(OF_IPV4 if version == 4 else OF_IPV6)):
            conn.setsockopt(level, option, value)
            assert conn.getsockopt(level, option) == value
            assert conn.getsockopt(level, option, 4) == value.to_bytes(4, sys.byteorder)
        for (level, option), value in FACTS.items():
            assert conn.getsockopt(level, option) == value
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)
        assert int(conn.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)) >= 100_000
        assert conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) == conn.info().mss
        sock = conn.as_socket()
        with sock:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM


def test_options_that_do_not_exist(pair: Pair) -> None:
    with connected(pair) as (conn, _):
        for level, option in (
            (socket.SOL_SOCKET, socket.SO_MARK),
            (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS),  # of an IPv4 connection
            (socket.SOL_SOCKET, socket.SO_BROADCAST),  # of a stream
        ):
            with pytest.raises(OSError, match="no option") as refused:
                conn.setsockopt(level, option, 1)
            assert refused.value.errno == errno.ENOPROTOOPT
        with pytest.raises(OSError, match="makes no sense") as senseless:
            conn.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 0)
        assert senseless.value.errno == errno.EINVAL
        for call in (lambda: conn.recv(1, socket.MSG_PEEK), lambda: conn.send(b"", socket.MSG_OOB)):
            with pytest.raises(OSError, match="MSG_ flags") as flags:
                call()
            assert flags.value.errno == errno.EOPNOTSUPP


def test_selectors_see_reads_and_writes(pair: Pair) -> None:
    with connected(pair) as (conn, _), selectors.DefaultSelector() as selector:
        selector.register(conn, selectors.EVENT_READ | selectors.EVENT_WRITE)
        assert [mask for _, mask in selector.select(5)] == [selectors.EVENT_WRITE]
        selector.modify(conn, selectors.EVENT_READ)
        conn.sendall(b"back to me")
        assert [mask for _, mask in selector.select(5)] == [selectors.EVENT_READ]
        assert conn.recv(100) == b"back to me"
        assert selector.select(0) == []


def test_a_peer_that_does_not_read_makes_it_unwritable(pair: Pair) -> None:
    with connected(pair, "tcp-mute") as (conn, _), selectors.DefaultSelector() as selector:
        conn.setblocking(False)
        selector.register(conn, selectors.EVENT_WRITE)
        while selector.select(0.5):
            try:
                conn.send(bytes(1 << 20))
            except BlockingIOError:
                continue
        conn.settimeout(0.05)
        with pytest.raises(TimedOut):
            conn.sendall(bytes(1 << 20))
        conn.abort()


def test_timeouts_are_the_standards(pair: Pair) -> None:
    with connected(pair) as (conn, _):
        assert conn.gettimeout() == conn.timeout == 5.0
        conn.settimeout(0.01)
        with pytest.raises(TimeoutError, match=r"0\.01 s"):
            conn.recv(1)
        conn.setblocking(False)
        assert not conn.getblocking()
        with pytest.raises(BlockingIOError) as busy:
            conn.recv(1)
        assert busy.value.errno == errno.EAGAIN
        with pytest.raises(ValueError, match="out of range"):
            conn.settimeout(-1)
        conn.setblocking(True)
        assert conn.gettimeout() is None
        with pytest.raises(ValueError, match="negative"):
            conn.recv(-1)


def test_errors_are_the_standards_with_their_numbers(pair: Pair) -> None:
    with netkat.Stack(netns=pair.host.name) as stack:
        with pytest.raises(ConnectionRefusedError) as refused:
            stack.create_connection((pair.peer.ipv4, 9), 5)
        assert type(refused.value) is Refused and refused.value.errno == errno.ECONNREFUSED
        with pytest.raises(OSError, match="no route") as no_way:
            stack.create_connection(("192.0.2.1", 9), 5)
        assert type(no_way.value) is NoRoute and no_way.value.errno == errno.ENETUNREACH
        with pytest.raises(socket.gaierror) as unknown:
            stack.create_connection(("no-such-name.invalid", 9), 5)
        assert type(unknown.value) is NameNotFound and unknown.value.errno == socket.EAI_NONAME
        with stack.create_server((pair.host.ipv4, 7100)), pytest.raises(PortTaken) as taken:
            stack.create_server((pair.host.ipv4, 7100))
        assert taken.value.errno == errno.EADDRINUSE
    with connected(pair, "tcp-reset", size=1) as (conn, _):
        conn.sendall(b"x")
        with pytest.raises(ConnectionResetError) as reset:
            conn.recv(1)
        assert type(reset.value) is ConnectionReset and reset.value.errno == errno.ECONNRESET
        with pytest.raises(io.UnsupportedOperation), conn.makefile("wb") as stream:
            stream.read()


@pytest.mark.parametrize("what", ["recv", "sendall", "select"])
def test_closing_in_another_thread_wakes_who_waits(pair: Pair, what: str) -> None:
    with connected(pair, "tcp-mute") as (conn, _):
        conn.settimeout(None)
        descriptor, outcome = conn.fileno(), list[object]()

        def wait() -> None:
            try:
                if what == "recv":
                    conn.recv(1)
                elif what == "sendall":
                    conn.sendall(bytes(64 << 20))
                else:
                    select.select([descriptor], [], [])
                    conn.recv(1)
            except OSError as error:
                outcome.append(error.errno)

        waiter = threading.Thread(target=wait)
        waiter.start()
        time.sleep(0.05)  # most often it waits by now; closing is right before that, too
        conn.close() if what != "sendall" else conn.abort()
        waiter.join(10)
        assert not waiter.is_alive()
        assert outcome == [errno.EBADF]
