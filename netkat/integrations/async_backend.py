"""httpcore's network backend for asyncio and trio: anyio's streams on a real socket."""

from __future__ import annotations

import os
import select
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.abc
import anyio.to_thread
from anyio.streams.tls import TLSAttribute, TLSStream

from netkat.api import async_connect
from netkat.api.async_connect import Errand
from netkat.errors import NetkatError
from netkat.integrations.backend import Names

if TYPE_CHECKING:
    from netkat.integrations.network import Network

T = TypeVar("T")


class AsyncBackend:
    """What httpcore.AsyncConnectionPool(network_backend=…) takes."""

    def __init__(self, core: Any, network: Network) -> None:
        self._core, self._network = core, network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncStream:
        """A stream to one origin. Errors: ConnectTimeout, ConnectError, netkat's behind them."""
        core, loop = self._core, _Loop()
        source = (local_address, 0) if local_address else None
        with translated(core.ConnectTimeout, core.ConnectError):
            stack = await loop.off(self._network.stack)
            conn = await async_connect.connect(loop, stack, (host, port), timeout, source)
            for option in socket_options or ():
                conn.setsockopt(*option)
            names = Names(conn.getsockname(), conn.getpeername())
            # trio takes no subclass of socket; and names are all that it has more.
            sock = socket.socket(fileno=conn.as_socket().detach())
            stream = await anyio.abc.UNIXSocketStream.from_socket(sock)
        return AsyncStream(core, stream, names)

    async def connect_unix_socket(self, path: str, **_: Any) -> AsyncStream:
        """Errors: UnsupportedProtocol: no packets go there."""
        raise self._core.UnsupportedProtocol(f"{path}: a UNIX socket has no packets")

    async def sleep(self, seconds: float) -> None:
        """Between retries."""
        await anyio.sleep(seconds)


class _Loop:
    """What connecting needs of a loop, by anyio."""

    async def off(self, function: Callable[[], T], undo: Callable[[T], object] = id) -> T:
        errand = Errand(function, undo)
        try:
            return await anyio.to_thread.run_sync(errand.run, abandon_on_cancel=True)
        except anyio.get_cancelled_exc_class():
            errand.abandon()
            raise

    async def readable(self, descriptors: Iterable[int], seconds: float | None) -> bool:
        async def wait(descriptor: int) -> None:
            await anyio.wait_readable(descriptor)
            tasks.cancel_scope.cancel()

        # Copies: a loop knows one reader a descriptor, and a fault descriptor is everybody's.
        copies = [os.dup(descriptor) for descriptor in descriptors]
        try:
            with anyio.move_on_after(seconds) as limit:
                async with anyio.create_task_group() as tasks:
                    for copy in copies:
                        tasks.start_soon(wait, copy)
            return not limit.cancelled_caught
        finally:
            for copy in copies:
                os.close(copy)


class AsyncStream:
    """What httpcore reads and writes."""

    def __init__(self, core: Any, stream: anyio.abc.ByteStream, names: Names) -> None:
        self._core, self._stream, self._names = core, stream, names

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Errors: ReadTimeout, ReadError."""
        with translated(self._core.ReadTimeout, self._core.ReadError):
            with anyio.fail_after(timeout):
                try:
                    return await self._stream.receive(max_bytes)
                except anyio.EndOfStream:
                    return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Errors: WriteTimeout, WriteError."""
        if buffer:
            with translated(self._core.WriteTimeout, self._core.WriteError):
                with anyio.fail_after(timeout):
                    await self._stream.send(buffer)

    async def aclose(self) -> None:
        """Close the connection. Idempotent."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> AsyncStream:
        """The same peer, with TLS. Errors: ConnectTimeout, ConnectError."""
        with translated(self._core.ConnectTimeout, self._core.ConnectError):
            try:
                with anyio.fail_after(timeout):
                    tls = await TLSStream.wrap(
                        self._stream,
                        ssl_context=ssl_context,
                        hostname=server_hostname,
                        # HTTP says itself where a message ends.
                        standard_compatible=False,
                        server_side=False,
                    )
            except BaseException:
                await anyio.aclose_forcefully(self._stream)
                raise
        return AsyncStream(self._core, tls, self._names)

    def get_extra_info(self, info: str) -> Any:
        """Return a value by httpcore's name; None for an unknown name."""
        match info:
            case "client_addr":
                return self._names.local
            case "server_addr":
                return self._names.peer
            case "socket":
                return self._socket()
            case "is_readable":
                return bool(select.select([self._socket().fileno()], [], [], 0)[0])
            case "ssl_object":
                return self._stream.extra(TLSAttribute.ssl_object, None)
        return None

    def _socket(self) -> socket.socket:
        found: socket.socket = self._stream.extra(anyio.abc.SocketAttribute.raw_socket)
        return found


@contextmanager
def translated(timeout: type[Exception], other: type[Exception]) -> Iterator[None]:
    """A fault of netkat's, of a socket or of anyio's as httpcore's, with the fault as its cause."""
    try:
        yield
    except TimeoutError as error:
        raise timeout(str(error)) from error
    except (
        OSError,
        NetkatError,
        anyio.BrokenResourceError,
        anyio.ClosedResourceError,
        anyio.EndOfStream,
    ) as error:
        behind = error.__cause__ if isinstance(error.__cause__, OSError) else error
        raise other(str(behind)) from behind
