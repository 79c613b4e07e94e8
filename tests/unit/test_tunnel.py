"""tunnel() against proxies that are made up: what goes out, what is left alone, every fault."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence

import pytest

from netkat.commands.connect.proxy_route import ProxySettings
from netkat.conn.proxy_handshake import Proxy, ProxyKind, tunnel
from netkat.engine.bypass import Cancelled
from netkat.errors import (
    BadArgument,
    ConnectionReset,
    NameNotFound,
    NotAProxy,
    ProxyAuthFailed,
    ProxyFailed,
    ProxyRefused,
)
from tests.helpers.kernel_conn import KernelConn, reset

SOON = 20.0
SOCKS4, SOCKS4A = Proxy(ProxyKind.SOCKS4), Proxy(ProxyKind.SOCKS4A)
SOCKS5, HTTP = Proxy(ProxyKind.SOCKS5), Proxy(ProxyKind.HTTP)
BOB = Proxy(ProxyKind.SOCKS5, "bob", "secret")
GRANTED4 = b"\x00\x5a\x00\x00\x00\x00\x00\x00"
GRANTED5 = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
NAME = b"\x05\x01\x00\x03\x08web.test\x00\x50"

Script = Sequence[tuple[bytes, bytes]]
"""What the proxy hears, and says to that."""


def ask(proxy: Proxy, script: Script, host: str = "web.test") -> bytes:
    """A tunnel through a proxy that follows the script; what comes out of the connection then."""
    kernel = KernelConn()
    kernel.peer.settimeout(SOON)
    wrong: list[bytes] = []

    def serve() -> None:
        for heard, said in script:
            got = b""
            while len(got) < len(heard):
                part = kernel.peer.recv(len(heard) - len(got))
                if not part:
                    break
                got += part
            if got != heard:
                wrong.append(got)
            kernel.peer.sendall(said)
        kernel.peer.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        tunnel(kernel.stream, proxy, host, 80, timeout=SOON)
        kernel.stream.settimeout(SOON)
        return b"".join(iter(lambda: kernel.stream.recv(100), b""))
    finally:
        thread.join(SOON)
        kernel.conn.close()
        kernel.peer.close()
        assert wrong == []


@pytest.mark.parametrize(
    ("proxy", "host", "script"),
    [
        (SOCKS4, "192.0.2.1", [(b"\x04\x01\x00\x50\xc0\x00\x02\x01\x00", GRANTED4)]),
        (SOCKS4A, "web.test", [(b"\x04\x01\x00\x50\x00\x00\x00\x01\x00web.test\x00", GRANTED4)]),
        (
            Proxy(ProxyKind.SOCKS4, "bob"),
            "192.0.2.1",
            [(b"\x04\x01\x00\x50\xc0\x00\x02\x01bob\x00", GRANTED4)],
        ),
        (SOCKS5, "web.test", [(b"\x05\x01\x00", b"\x05\x00"), (NAME, GRANTED5)]),
        (
            BOB,
            "2001:db8::1",
            [
                (b"\x05\x02\x00\x02", b"\x05\x02"),
                (b"\x01\x03bob\x06secret", b"\x01\x00"),
                (
                    b"\x05\x01\x00\x04" + socket.inet_pton(socket.AF_INET6, "2001:db8::1") + b"\0P",
                    b"\x05\x00\x00\x04" + bytes(18),
                ),
            ],
        ),
        (
            SOCKS5,
            "web.test",
            [(b"\x05\x01\x00", b"\x05\x00"), (NAME, b"\x05\x00\x00\x03\x03abc\0P")],
        ),
        (
            HTTP,
            "2001:db8::1",
            [(b"CONNECT [2001:db8::1]:80 HTTP/1.1\r\n", b"HTTP/1.0 200 OK\r\nVia: 1\r\n\r\n")],
        ),
    ],
    ids=["4", "4a", "4 with a user", "5", "5 with a password", "5 bound to a name", "HTTP"],
)
def test_what_comes_behind_the_answer_is_the_destinations(
    proxy: Proxy, host: str, script: list[tuple[bytes, bytes]]
) -> None:
    """Also where it comes in one segment with it."""
    heard, said = script[-1]
    assert ask(proxy, [*script[:-1], (heard, said + b"SSH-2.0-first\r\n")], host) == (
        b"SSH-2.0-first\r\n"
    )


def refusal(code: int) -> Script:
    return [(b"\x05\x01\x00", b"\x05\x00"), (NAME, bytes([5, code, 0]))]


@pytest.mark.parametrize(
    ("proxy", "script", "kind", "words"),
    [
        (SOCKS5, refusal(1), ProxyRefused, "did not connect: general failure"),
        (SOCKS5, refusal(2), ProxyRefused, "did not connect: not allowed by its rules"),
        (SOCKS5, refusal(4), ProxyRefused, "did not connect: host unreachable from there"),
        (SOCKS5, refusal(5), ProxyRefused, "did not connect: connection refused by the dest"),
        (SOCKS5, [(b"\x05\x01\x00", b"\x05\xff")], ProxyAuthFailed, "wants a user and a password"),
        (BOB, [(b"\x05\x02\x00\x02", b"\x05\xff")], ProxyAuthFailed, "takes neither user and"),
        (
            BOB,
            [(b"\x05\x02\x00\x02", b"\x05\x02"), (b"\x01\x03bob\x06secret", b"\x01\x01")],
            ProxyAuthFailed,
            "does not accept the user and the password",
        ),
        (SOCKS5, [(b"\x05\x01\x00", b"SSH-2.0-x\r\n")], NotAProxy, r"no SOCKS5 proxy: .*'SSH-2"),
        (SOCKS5, [], ProxyFailed, "closed the connection without an answer"),
        (SOCKS5, [(b"\x05\x01\x00", b"\x05")], ProxyFailed, "in the middle of its answer"),
        (SOCKS4A, [(b"\x04\x01", b"\x00\x5b" + bytes(6))], ProxyRefused, "rejected or failed"),
        (SOCKS4A, [(b"\x04\x01", b"\x00\x5d" + bytes(6))], ProxyAuthFailed, "names another user"),
        (SOCKS4A, [(b"\x04\x01", b"\x05\xff")], NotAProxy, r"no SOCKS4a proxy: .*\\x05\\xff"),
        (HTTP, [(b"CONNECT ", b"HTTP/1.1 403 No\r\n\r\n")], ProxyRefused, "connect: 403 No"),
        (HTTP, [(b"CONNECT ", b"HTTP/1.1 407 Who\r\n\r\n")], ProxyAuthFailed, "wants a user"),
        (HTTP, [(b"CONNECT ", b"HTTP/1.1 nonsense\r\n\r\n")], NotAProxy, "it said b'HTTP/1.1 non"),
        (HTTP, [(b"CONNECT ", b"\x05\xff")], NotAProxy, r"no HTTP proxy: it said b'\\x05\\xff'"),
        (
            HTTP,
            [(b"CONNECT ", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20000)],
            ProxyFailed,
            "more than 16384 bytes",
        ),
        (HTTP, [(b"CONNECT ", b"HTTP/1.1 200 OK\r\n")], ProxyFailed, "in the middle of its"),
    ],
)
def test_faults(proxy: Proxy, script: Script, kind: type[ProxyFailed], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        ask(proxy, script)
    assert type(caught.value) is kind
    assert "secret" not in f"{caught.value} {caught.value.hint}"


def test_a_reset_says_when() -> None:
    kernel = KernelConn()
    reset(kernel.peer)
    with pytest.raises(ConnectionReset, match="in place of the proxy's answer"):
        tunnel(kernel.stream, SOCKS5, "web.test", 80, timeout=SOON)
    kernel.conn.close()


def test_a_silent_proxy_and_a_signal() -> None:
    kernel = KernelConn()
    reader, writer = os.pipe()
    with kernel.peer:
        with pytest.raises(ProxyFailed, match=r"did not answer in 0\.1 s") as caught:
            tunnel(kernel.stream, SOCKS5, "web.test", 80, timeout=0.1)
        assert "be no SOCKS5 proxy" in str(caught.value.hint)
        os.write(writer, b"!")
        with pytest.raises(Cancelled):
            tunnel(kernel.stream, SOCKS5, "web.test", 80, timeout=SOON, cancel_fd=reader)
    kernel.conn.close()
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("host", ["", "a b", "web.test\r\nX: y", "x/y"])
@pytest.mark.parametrize("proxy", [SOCKS5, HTTP])
def test_names_that_no_request_can_carry(proxy: Proxy, host: str) -> None:
    with pytest.raises(BadArgument, match="is no name for a proxy"):
        ask(proxy, [], host)


def test_a_label_that_is_too_long_for_socks() -> None:
    with pytest.raises(BadArgument, match="what a request to a SOCKS5 proxy cannot"):
        ask(SOCKS5, [(b"\x05\x01\x00", b"\x05\x00")], "a" * 64 + ".test")


def recorded(connect: Callable[[int], object], length: int) -> bytes:
    """The first bytes that somebody sends to a port of this host, who then is let in."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(SOON)
        thread = threading.Thread(target=connect, args=listener.getsockname()[1:2], daemon=True)
        thread.start()
        sock, _ = listener.accept()
        with sock:
            sock.settimeout(SOON)
            heard = b""
            while len(heard) < length:
                heard += sock.recv(length - len(heard))
            sock.sendall(GRANTED4)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):
                pass
        thread.join(SOON)
    return heard


@pytest.mark.parametrize(
    ("option", "proxy", "host"),
    [("--socks4", SOCKS4, "192.0.2.1"), ("--socks4a", SOCKS4A, "web.test")],
)
def test_the_same_request_as_curls(option: str, proxy: Proxy, host: str) -> None:
    """No free server knows SOCKS4a with names; curl is the other opinion."""
    length = 9 + (len(host) + 1 if proxy is SOCKS4A else 0)

    def curl(port: int) -> None:
        argv = ["curl", "-s", option, f"127.0.0.1:{port}", f"http://{host}/"]
        subprocess.run(argv, timeout=SOON, check=False, env={"PATH": os.environ["PATH"]})

    theirs = recorded(curl, length)
    heard = ask(proxy, [(theirs, GRANTED4 + b"x")], host)
    assert heard == b"x"


def found(host: str, service: str, version: int | None) -> list[tuple[object, int]]:
    """A resolver that knows the numbers and one name."""
    from netkat.host.resolve import resolve

    if host == "web.test":
        return [*resolve("192.0.2.7" if version == 4 else "2001:db8::7", service)]
    if host == "gone.test":
        raise NameNotFound("gone.test: no such name")
    return [*resolve(host, service)]


@pytest.mark.parametrize(
    ("kind", "resolver", "host", "name"),
    [
        (ProxyKind.SOCKS5, "remote", "web.test", "web.test"),
        (ProxyKind.SOCKS5, "remote", "192.0.2.1", "192.0.2.1"),
        (ProxyKind.SOCKS5, "local", "web.test", "2001:db8::7"),
        (ProxyKind.SOCKS4, "local", "web.test", "192.0.2.7"),
        (ProxyKind.HTTP, "both", "web.test", "2001:db8::7"),
        (ProxyKind.HTTP, "both", "gone.test", "gone.test"),
        (ProxyKind.SOCKS5, "local", "gone.test", NameNotFound),
        (ProxyKind.SOCKS5, "none", "web.test", NameNotFound),
        (ProxyKind.SOCKS5, "none", "192.0.2.1", "192.0.2.1"),
        (ProxyKind.SOCKS4, "local", "2001:db8::1", BadArgument),
        (ProxyKind.SOCKS5, "remote", "fe80::1%eth0", BadArgument),
    ],
)
def test_who_finds_the_address(
    kind: ProxyKind, resolver: str, host: str, name: str | type[Exception]
) -> None:
    proxy = ProxySettings("proxy.test", "1080", Proxy(kind), resolver)
    if isinstance(name, str):
        made = proxy.tunnel(host, "http", None, found)  # type: ignore[arg-type]
        assert (made.name, made.port, made.host) == (name, 80, host)
        return
    with pytest.raises(name):
        proxy.tunnel(host, "http", None, found)  # type: ignore[arg-type]
