"""httpcore's network backend, blocking: plain HTTP on the connection itself, TLS on a real socket.

httpcore (encode) and httpcore2 (pydantic) ask for the same calls and name their exceptions
alike, so ``core`` is either module.
"""

from __future__ import annotations

import select
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from netkat.errors import NetkatError

if TYPE_CHECKING:
    import socket

    from netkat.conn import TcpConnection
    from netkat.integrations.network import Network


class Backend:
    """What httpcore.ConnectionPool(network_backend=…) takes."""

    def __init__(self, core: Any, network: Network) -> None:
        self._core, self._network = core, network

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> Stream:
        """A stream to one origin. Errors: ConnectTimeout, ConnectError, netkat's behind them."""
        core = self._core
        with translated(core.ConnectTimeout, core.ConnectError):
            conn = self._network.connect(host, port, timeout, local_address)
            for option in socket_options or ():
                conn.setsockopt(*option)
        return Stream(core, conn)

    def connect_unix_socket(self, path: str, **_: Any) -> Stream:
        """Errors: UnsupportedProtocol: no packets go there."""
        raise self._core.UnsupportedProtocol(f"{path}: a UNIX socket has no packets")

    def sleep(self, seconds: float) -> None:
        """Between retries."""
        time.sleep(seconds)


class Names(NamedTuple):
    """Both ends' addresses: a TLS socket over a bridge has none of its own."""

    local: Any
    peer: Any


class Stream:
    """What httpcore reads and writes."""

    def __init__(
        self, core: Any, conn: TcpConnection | socket.socket, names: Names | None = None
    ) -> None:
        self._core, self._conn = core, conn
        self._names = names or Names(conn.getsockname(), conn.getpeername())

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Errors: ReadTimeout, ReadError."""
        with translated(self._core.ReadTimeout, self._core.ReadError):
            self._conn.settimeout(timeout)
            return self._conn.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Errors: WriteTimeout, WriteError."""
        with translated(self._core.WriteTimeout, self._core.WriteError):
            self._conn.settimeout(timeout)
            self._conn.sendall(buffer)

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._conn.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> Stream:
        """The same peer, with TLS. Errors: ConnectTimeout, ConnectError."""
        if isinstance(self._conn, ssl.SSLSocket):
            raise self._core.UnsupportedProtocol("TLS within TLS is not there")
        with translated(self._core.ConnectTimeout, self._core.ConnectError):
            sock = as_socket(self._conn)
            try:
                sock.settimeout(timeout)
                tls = ssl_context.wrap_socket(sock, server_hostname=server_hostname)
                return Stream(self._core, tls, self._names)
            except BaseException:
                sock.close()
                raise

    def get_extra_info(self, info: str) -> Any:
        """Return a value by httpcore's name; None for an unknown name."""
        match info:
            case "client_addr":
                return self._names.local
            case "server_addr":
                return self._names.peer
            case "socket":
                return self._conn
            case "is_readable":
                return bool(select.select([self._conn.fileno()], [], [], 0)[0])
            case "ssl_object":
                return self._conn if isinstance(self._conn, ssl.SSLSocket) else None
        return None


def as_socket(conn: Any) -> socket.socket:
    """A connection as a real socket; a real socket as it is."""
    return conn.as_socket() if hasattr(conn, "as_socket") else conn  # type: ignore[no-any-return]


@contextmanager
def translated(timeout: type[Exception], other: type[Exception]) -> Iterator[None]:
    """A fault of netkat's, or of a socket, as httpcore's, with the fault as its cause."""
    try:
        yield
    except TimeoutError as error:
        raise timeout(str(error)) from error
    except (OSError, NetkatError) as error:  # ssl.SSLError is one, BadArgument is none
        raise other(str(error)) from error
