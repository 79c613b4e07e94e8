"""The socket module's way to a connection (socket, bind, listen, connect), over two stacks.

netkat makes an object that is connected, or listens, in one call; the tests of others make a
socket first and say later what it is to be. What stands here is that way alone: as soon as
netkat's object is there, everything asked of the socket is asked of it.
"""

from __future__ import annotations

import errno
import random
import socket
import threading
from types import ModuleType
from typing import Any

from netkat import Stack


class World:
    """Where sockets are made: what listens in one namespace, what connects in the other.

    A suite's main thread is its server's, every other thread a client's.
    """

    def __init__(self, server: Stack, client: Stack, addresses: dict[str, tuple[str, str]]) -> None:
        self.server, self.client = server, client
        self._addresses = addresses

    def stack(self) -> Stack:
        """This thread's."""
        return self.server if self._serving() else self.client

    def here(self, host: str, family: int = socket.AF_INET) -> str:
        """An address that a suite binds, as this thread's side has it: all of ours are one."""
        return (
            host
            and self._addresses["server" if self._serving() else "client"][
                family == socket.AF_INET6
            ]
        )

    def there(self, host: str) -> str:
        """An address that a suite connects to: loopback is where the server is."""
        return self._addresses["server"][":" in host] if host in ("127.0.0.1", "::1") else host

    @staticmethod
    def _serving() -> bool:
        return threading.current_thread() is threading.main_thread()


class Socket:
    """As socket.socket, until it is known what it is to be."""

    world: World

    def __init__(
        self,
        family: int = socket.AF_INET,
        type: int = socket.SOCK_STREAM,  # noqa: A002 - as the socket module names it
        proto: int = 0,
        fileno: int | None = None,
    ) -> None:
        if fileno is not None:
            raise OSError(errno.ENOTSOCK, "netkat has no socket of a descriptor")
        self.family, self.proto = family, proto
        self.type = type & ~(socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._timeout = 0.0 if type & socket.SOCK_NONBLOCK else socket.getdefaulttimeout()
        self._bound: tuple[str, int] | None = None
        self._real: Any = None
        self._connected = threading.Event()
        self._connected.set()
        self._closed = False

    def bind(self, address: tuple[Any, ...]) -> None:
        host, port = self.world.here(address[0], self.family), address[1]
        if self.type == socket.SOCK_DGRAM:
            self._be(self.world.stack().open_datagram(None, None, (host, port)))
        elif self.world.stack() is self.world.server:
            self._be(self.world.server.create_server((host, port)))
        else:
            self._bound = host, port or random.randrange(20_000, 30_000)

    def listen(self, backlog: int = 128) -> None:
        assert self._real is not None, "bound before"

    def connect(self, address: tuple[Any, ...]) -> None:
        to = self.world.there(address[0]), address[1]
        client = self.world.client
        self._connected.clear()
        try:
            if self.type == socket.SOCK_DGRAM:
                self._be(client.open_datagram(to, None, self._bound))
            else:
                self._be(client.create_connection(to, self._timeout, self._bound))
        finally:
            self._connected.set()

    def getsockname(self) -> Any:
        if self._real is None and self._bound is not None:
            return self._bound
        return self._is().getsockname()

    def getsockopt(self, level: int, option: int, length: int = 0) -> Any:
        return 0 if self._real is None else self._real.getsockopt(level, option, length)

    def settimeout(self, seconds: float | None) -> None:
        self._timeout = seconds
        if self._real is not None:
            self._real.settimeout(seconds)

    def gettimeout(self) -> float | None:
        return self._timeout if self._real is None else self._real.gettimeout()

    def close(self) -> None:
        self._closed = True
        if self._real is not None:
            self._real.close()

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._is(), name)

    def _be(self, real: Any) -> None:
        self._real = real
        real.settimeout(self._timeout)

    def _is(self) -> Any:
        # The server has accepted, and its thread asks, before the client's connect is back.
        self._connected.wait()
        if self._real is None:
            if self._closed or self.type != socket.SOCK_DGRAM:
                raise OSError(errno.ENOTCONN, "neither connected nor listening")
            self._be(self.world.stack().open_datagram(None))
        return self._real


def module(world: World) -> ModuleType:
    """The socket module, with netkat behind what makes a socket."""
    found = ModuleType("socket")
    vars(found).update(vars(socket))

    def create_connection(address: tuple[str, int], *args: Any, **options: Any) -> Any:
        return world.client.create_connection(
            (world.there(address[0]), address[1]), *args, **options
        )

    def create_server(address: tuple[str, int], *args: Any, **options: Any) -> Any:
        host = world.there(address[0])
        return world.server.create_server((host, address[1]), *args, **options)

    ours: dict[str, Any] = {
        "socket": type("socket", (Socket,), {"world": world}),
        "create_connection": create_connection,
        "create_server": create_server,
    }
    vars(found).update(ours)
    return found
