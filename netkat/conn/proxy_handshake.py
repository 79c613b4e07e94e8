"""Through a proxy: SOCKS4, SOCKS4a, SOCKS5 or HTTP CONNECT over a connection that leads to it.

Imported where a proxy is asked for, and before privileges are dropped.
"""

from __future__ import annotations

import contextlib
import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from python_socks import ProxyError, ProxyType
from python_socks.sync.v2 import Proxy as Negotiation

from netkat.conn.deadlines import receive_by
from netkat.engine.wait import deadline_after
from netkat.errors import (
    BadArgument,
    ConnectionReset,
    NetworkError,
    NotAProxy,
    ProxyAuthFailed,
    ProxyFailed,
    ProxyRefused,
    TimedOut,
)
from netkat.stack.codes import WouldBlock

if TYPE_CHECKING:
    from netkat.conn.stream import TcpConnection

_HEAD = 1 << 14
"""Bytes of an HTTP answer's head that are read on for its end."""
_SHOWN = 24
"""Most bytes to show of what a peer sent in place of a proxy's reply."""
_SUCCESS, _INTERIM = re.compile(rb"2\d\d"), re.compile(rb"1\d\d")
_CHALLENGE = re.compile(rb"(?im)^proxy-authenticate:[ \t]*([a-z0-9-]+)")
_NO_NAME = re.compile(r"[\s\x00-\x1f\x7f/?#@\\\[\]]")
"""What would end the name, or the line, in a request."""

_SOCKS5 = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable from there",
    4: "host unreachable from there, or no such name",
    5: "connection refused by the destination",
    6: "TTL expired on the way from there",
    7: "it does not know CONNECT",
    8: "it does not take this kind of address",
}
"""RFC 1928, section 6."""
_SOCKS4 = {
    91: "rejected or failed (SOCKS4 tells no more)",
    92: "it does not reach identd on this host",
    93: "identd on this host names another user",
}


class ProxyKind(enum.Enum):
    """What a proxy speaks, as people call it."""

    SOCKS4 = "SOCKS4"
    SOCKS4A = "SOCKS4a"
    SOCKS5 = "SOCKS5"
    HTTP = "HTTP"


_FIRST = {
    ProxyKind.SOCKS4: b"\x00",
    ProxyKind.SOCKS4A: b"\x00",
    ProxyKind.SOCKS5: b"\x05",
    ProxyKind.HTTP: b"H",
}
"""What an answer begins with."""


@dataclass(frozen=True)
class Proxy:
    """How to speak to a proxy; SOCKS4 has a user and no password. Both are ASCII."""

    kind: ProxyKind
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def tunnel(
    conn: TcpConnection,
    proxy: Proxy,
    host: str,
    port: int,
    *,
    timeout: float | None,
    cancel_fd: int | None = None,
) -> None:
    """Have the proxy at the other end connect on to ``host``: from then on that is the peer.

    No byte that comes after the proxy's answer is read. ``host`` is an address, or a name
    for the proxy to resolve, which SOCKS4 cannot; ``timeout`` in seconds is for all of it.
    Errors: ProxyFailed and its kinds, BadArgument, Cancelled, and the connection's own.
    """
    if _NO_NAME.search(host) or not host:
        raise BadArgument(f"{host!r} is no name for a proxy")
    kinds = {ProxyKind.SOCKS5: ProxyType.SOCKS5, ProxyKind.HTTP: ProxyType.HTTP}
    exchange = _Exchange(conn, proxy.kind, timeout, cancel_fd)
    negotiation = Negotiation(
        kinds.get(proxy.kind, ProxyType.SOCKS4),
        *conn.getpeername()[:2],
        username=proxy.user,
        password=proxy.password,
        rdns=True,
        forward=exchange,  # type: ignore[arg-type]
    )
    try:
        negotiation.connect(host, port)
    except ProxyError as error:
        raise _fault(proxy, error, exchange) from None
    except ValueError:
        # Its words may show a part of the password.
        raise BadArgument(
            f"host, user or password hold what a request to a {proxy.kind.value} proxy cannot"
        ) from None


class _Exchange:
    """The connection as the stream that python-socks talks on, and what was heard there."""

    def __init__(
        self, conn: TcpConnection, kind: ProxyKind, timeout: float | None, cancel_fd: int | None
    ) -> None:
        self._conn, self._kind, self._cancel_fd = conn, kind, cancel_fd
        self._timeout, self._deadline = timeout, deadline_after(timeout)
        self.heard = b""
        self.last = b""
        self.schemes: list[str] = []

    def connect(self, **_: Any) -> _Exchange:
        """The way to the proxy is there already."""
        return self

    def write(self, data: bytes) -> None:
        """All of it. Errors: ConnectionReset."""
        with _in_place_of_an_answer():
            self._conn.sendall(data)

    def read(self, max_bytes: int = _HEAD) -> bytes:
        """Return the head of the final HTTP response, and none of the destination's bytes.

        Each 2xx to CONNECT is success, and 1xx is interim (RFC 9110, 9.3.6 and 15.2).
        """
        while True:
            head = self._read_head(max_bytes)
            code = (*head.split(maxsplit=2), b"", b"")[1]
            if _SUCCESS.fullmatch(code):
                return b"HTTP/1.1 200 OK\r\n\r\n"  # python-socks knows no other
            if not _INTERIM.fullmatch(code):
                self.schemes = [name.decode().title() for name in _CHALLENGE.findall(head)]
                return head

    def _read_head(self, max_bytes: int) -> bytes:
        head = b""
        while not head.endswith((b"\r\n\r\n", b"\n\n")):
            head += self.read_exactly(1)
            if not b"HTTP/".startswith(head[:5]):
                raise self.nonsense()
            if len(head) > max_bytes:
                raise ProxyFailed(f"the head of the proxy's answer has more than {max_bytes} bytes")
        return head

    def read_exactly(self, n: int) -> bytes:
        """So many bytes. Errors: ProxyFailed, ConnectionReset, Cancelled."""
        data = bytearray(n)
        count = 0
        while count < n:
            got = self._receive(memoryview(data)[count:])
            if not got:
                raise self._ended()
            self.heard += data[count : count + got]
            count += got
        self.last = bytes(data)
        return self.last

    def close(self) -> None:
        """Do nothing: the caller that opened the connection closes it."""

    def nonsense(self) -> NotAProxy:
        """Return the error for a reply that is not of the proxy's protocol."""
        more = bytearray(_SHOWN)
        before = self._conn.gettimeout()
        self._conn.settimeout(0.0)
        try:
            self.heard += more[: self._conn.recv_into(more)]
        except (WouldBlock, NetworkError):
            pass  # that was all
        finally:
            self._conn.settimeout(before)
        said = self.heard[:_SHOWN]
        return NotAProxy(f"the peer is no {self._kind.value} proxy: it said {said!r}", said=said)

    def _ended(self) -> ProxyFailed:
        if not self.heard:
            return ProxyFailed("the proxy closed the connection without an answer")
        if self.heard[:1] != _FIRST[self._kind]:
            return self.nonsense()
        return ProxyFailed("the proxy closed the connection in the middle of its answer")

    def _receive(self, view: memoryview) -> int:
        try:
            with _in_place_of_an_answer():
                return receive_by(self._conn, view, self._deadline, self._cancel_fd)
        except TimedOut:
            raise ProxyFailed(
                f"the proxy did not answer in {self._timeout:g} s",
                hint="it may be waiting for the destination itself (-w TIME waits longer),"
                f" or be no {self._kind.value} proxy",
            ) from None


@contextlib.contextmanager
def _in_place_of_an_answer() -> Iterator[None]:
    try:
        yield
    except ConnectionReset as error:
        error.message = f"{error.message}, in place of the proxy's answer"
        raise


def _fault(proxy: Proxy, error: ProxyError, exchange: _Exchange) -> ProxyFailed:
    """Return the error for the proxy's reply, from its bytes if python-socks has no code."""
    code = None if error.error_code is None else int(error.error_code)
    if proxy.kind is ProxyKind.HTTP:
        if code is None:
            return exchange.nonsense()
        if code == 407 and exchange.schemes and "Basic" not in exchange.schemes:
            schemes = ", ".join(dict.fromkeys(exchange.schemes))
            return ProxyAuthFailed(
                f"the proxy requires {schemes} authentication, and netkat supports Basic only"
            )
        return _unauthorized(proxy) if code == 407 else _refused(str(error), code)
    if proxy.kind is ProxyKind.SOCKS5:
        # The answers to methods and password have two bytes; no other has.
        if len(exchange.last) == 2 and exchange.last[0] in (1, 5):
            return _unauthorized(proxy, tried=exchange.last[0] == 1)
        known = _SOCKS5
    else:
        if code in (92, 93):
            return ProxyAuthFailed(f"the proxy does not let us in: {_SOCKS4[code]}")
        known = _SOCKS4
    if code is None:
        return exchange.nonsense()
    return _refused(known.get(code, "a reason of its own"), code)


def _refused(words: str, code: int) -> ProxyRefused:
    return ProxyRefused(f"the proxy did not connect: {words}", code=code)


def _unauthorized(proxy: Proxy, *, tried: bool = False) -> ProxyAuthFailed:
    if proxy.user is None:
        return ProxyAuthFailed("the proxy wants a user and a password")
    if tried or proxy.kind is ProxyKind.HTTP:
        return ProxyAuthFailed("the proxy does not accept the user and the password")
    return ProxyAuthFailed("the proxy takes neither user and password nor a client without")
