"""A connection handed over to a real socket: TLS, names, and what becomes of it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import netkat
from tests.helpers.netns import Pair
from tests.helpers.peers import Peer, pattern, peer
from tests.helpers.tls import openssl_server


@contextmanager
def stack_beside(pair: Pair, kind: str, **options: int) -> Iterator[tuple[netkat.Stack, Peer]]:
    """A stack in the host's namespace, and a peer to talk to."""
    with (
        peer(pair.peer, kind, **options) as server,  # type: ignore[arg-type]
        netkat.Stack(netns=pair.host.name) as stack,
    ):
        yield stack, server


def given_back(pair: Pair, seconds: float = 10) -> None:
    """Wait until the host has no socket left: the reserved port was let go."""
    end = time.monotonic() + seconds
    while held := pair.host.run(["ss", "-Htan"]).stdout:
        assert time.monotonic() < end, held
        time.sleep(0.02)


@pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
def test_a_real_socket_with_the_connections_names(pair: Pair, version: int) -> None:
    with stack_beside(pair, "tcp-echo") as (stack, server):
        address = (pair.peer.address(version), server.port)
        conn = stack.create_connection(address, timeout=5)
        names = conn.getsockname(), conn.getpeername()
        with conn, conn.as_socket() as sock:
            assert isinstance(sock, socket.socket)
            assert (sock.getsockname(), sock.getpeername()) == names
            assert sock.gettimeout() == 5
            with pytest.raises(OSError, match="handed over"):
                conn.recv(1)
            assert "handed over" in repr(conn)
            data = pattern(1 << 20)
            with sock.makefile("rwb") as stream:
                stream.write(data)
                stream.flush()
                assert stream.read(len(data)) == data
            assert sock.info().mss > 1000
            with pytest.raises(OSError, match="handed over"):
                conn.as_socket()
        assert server.event("closed")["bytes"] == len(data)
        with pytest.raises(OSError, match="Bad file descriptor"):
            sock.getpeername()
        given_back(pair)


def test_a_reset_of_the_peer_is_one_here(pair: Pair) -> None:
    with stack_beside(pair, "tcp-reset", size=5) as (stack, server):
        with stack.create_connection((pair.peer.ipv4, server.port), 5).as_socket() as sock:
            sock.sendall(b"12345")
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        given_back(pair)


def test_closing_the_stack_ends_its_sockets(pair: Pair) -> None:
    with stack_beside(pair, "tcp-echo") as (stack, server):
        sock = stack.create_connection((pair.peer.ipv4, server.port), 5).as_socket()
    with sock, pytest.raises(ConnectionResetError):
        sock.recv(1)


def test_tls_through_the_standard_library(pair: Pair, tmp_path: Path) -> None:
    with (
        openssl_server(pair.peer, tmp_path) as context,
        netkat.Stack(netns=pair.host.name) as stack,
    ):
        sock = stack.create_connection((pair.peer.ipv4, 4433), 5).as_socket()
        with context.wrap_socket(sock, server_hostname="peer.test") as tls:
            assert tls.version() == "TLSv1.3"
            tls.sendall(b"upside down\n")
            assert tls.recv(100) == b"nwod edispu\n"
        sock = stack.create_connection((pair.peer.ipv4, 4433), 5).as_socket()
        with pytest.raises(ssl.SSLCertVerificationError):
            context.wrap_socket(sock, server_hostname="another.test")


def test_asyncio_takes_it(pair: Pair, tmp_path: Path) -> None:
    async def talk(sock: socket.socket, context: ssl.SSLContext) -> bytes:
        reader, writer = await asyncio.open_connection(
            sock=sock, ssl=context, server_hostname="peer.test"
        )
        writer.write(b"upside down\n")
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return answer

    with (
        openssl_server(pair.peer, tmp_path) as context,
        netkat.Stack(netns=pair.host.name) as stack,
    ):
        sock = stack.create_connection((pair.peer.ipv4, 4433), 5).as_socket()
        assert asyncio.run(talk(sock, context)) == b"nwod edispu\n"
