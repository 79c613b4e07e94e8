"""--reply: what a listener answers by itself, so that a test of a way needs no server."""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from netkat.errors import ConnectionReset

if TYPE_CHECKING:
    from netkat.conn import AnyStream

_CHUNK = 1 << 18
_LONGEST_REQUEST = 1 << 16
"""Bytes of an HTTP request that are read before it is answered all the same."""
_READ_ON = 1.0
"""Seconds that the client has for its own FIN: closing on unread bytes would send it a RST."""


def respond(conn: AnyStream, kind: str, peer: tuple[str, int]) -> None:
    """Serve one TCP client and end what is sent to it. Errors: NetkatError."""
    _TCP[kind](conn, peer)


def respond_datagram(kind: str, data: bytes, peer: tuple[str, int]) -> bytes:
    """The answer to one datagram."""
    return data if kind == "echo" else _WORDS[kind](peer)


def _echo(conn: AnyStream, peer: tuple[str, int]) -> None:
    buffer = memoryview(bytearray(_CHUNK))
    while count := conn.recv_into(buffer):
        conn.sendall(buffer[:count])
    conn.shutdown(socket.SHUT_WR)


def _say(words: Callable[[tuple[str, int]], bytes]) -> Callable[..., None]:
    def say(conn: AnyStream, peer: tuple[str, int]) -> None:
        conn.sendall(words(peer))
        conn.shutdown(socket.SHUT_WR)
        _read_on(conn)

    return say


def _http(conn: AnyStream, peer: tuple[str, int]) -> None:
    request = b""
    while b"\r\n\r\n" not in request and len(request) < _LONGEST_REQUEST:
        data = conn.recv(_CHUNK)
        if not data:
            break
        request += data
    body = f"client {_end(peer)}\nhost {socket.gethostname()}\n".encode()
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()
    conn.sendall(head if request.startswith(b"HEAD ") else head + body)
    conn.shutdown(socket.SHUT_WR)
    _read_on(conn)


def _read_on(conn: AnyStream) -> None:
    conn.settimeout(_READ_ON)
    try:
        while conn.recv(_CHUNK):
            pass
    except TimeoutError:
        pass
    except ConnectionReset:
        if conn.info().unacked:
            raise


def _client_ip(peer: tuple[str, int]) -> bytes:
    return f"{peer[0]}\n".encode()


def _host_name(peer: tuple[str, int]) -> bytes:
    return f"{socket.gethostname()}\n".encode()


def _client(peer: tuple[str, int]) -> bytes:
    return f"client {_end(peer)}\nhost {socket.gethostname()}\n".encode()


def _end(peer: tuple[str, int]) -> str:
    host, port = peer
    return f"[{host}]:{port}" if isinstance(ip_address(host), IPv6Address) else f"{host}:{port}"


_WORDS = {"clientip": _client_ip, "hostname": _host_name, "http": _client}
_TCP: dict[str, Callable[..., None]] = {
    "echo": _echo,
    "clientip": _say(_client_ip),
    "hostname": _say(_host_name),
    "http": _http,
}
