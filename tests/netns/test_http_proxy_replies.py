"""Replies of HTTP proxies to CONNECT: each 2xx, interim 1xx before it, 407 with its schemes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import netkat
from netkat.conn.proxy_handshake import Proxy, ProxyKind, tunnel
from netkat.errors import ProxyAuthFailed
from tests.helpers.netns import Pair

PORT = 7800
PROXY = Proxy(ProxyKind.HTTP, "bob", "secret")
HEAD = b"\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def replying(pair: Pair, reply: bytes) -> Iterator[None]:
    """A kernel socket of the peer that answers one request with ``reply``."""
    listener = pair.peer.call(lambda: socket.create_server((pair.peer.ipv4, PORT)))

    def serve() -> None:
        with listener, listener.accept()[0] as client:
            client.recv(65536)
            client.sendall(reply)
            client.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        thread.join(20)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 Connection established\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.0 299\r\n\r\n",
    ],
)
def test_connect_reply_of_success_opens_tunnel(pair: Pair, head: bytes) -> None:
    with (
        replying(pair, head + b"first"),
        netkat.Stack(netns=pair.host.name) as stack,
        stack.create_connection((pair.peer.ipv4, PORT), 20) as conn,
    ):
        tunnel(conn, PROXY, "web.test", 80, timeout=20)
        assert conn.recv(5) == b"first"


@pytest.mark.parametrize(
    ("challenges", "words"),
    [
        (b"\r\nProxy-Authenticate: Digest realm=x, nonce=y", "requires Digest authentication"),
        (b"\r\nProxy-Authenticate: Digest realm=x\r\nproxy-authenticate: basic", "does not accept"),
    ],
)
def test_407_names_schemes(pair: Pair, challenges: bytes, words: str) -> None:
    with (
        replying(pair, b"HTTP/1.1 407 Proxy Authentication Required" + challenges + HEAD),
        netkat.Stack(netns=pair.host.name) as stack,
        stack.create_connection((pair.peer.ipv4, PORT), 20) as conn,
        pytest.raises(ProxyAuthFailed, match=words),
    ):
        tunnel(conn, PROXY, "web.test", 80, timeout=20)
