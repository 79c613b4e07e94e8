"""netkat for asyncio: its own streams, transports and protocols over netkat's connections.

Nothing of TCP is here twice: a stream is asyncio's, over a connection's as_socket(),
so that TLS and uvloop work as on any other socket. What may take time beside the
network (names, routes, the guard) runs in the loop's executor; who waits for the
network waits in the loop, and can be cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from netkat.api import async_connect
from netkat.api.async_connect import Errand
from netkat.api.default_stack import default_stack
from netkat.api.stack import Stack
from netkat.engine.wait import CONNECT_TIMEOUT
from netkat.stack.codes import WouldBlock

if TYPE_CHECKING:
    import ssl

    from netkat.conn import TcpConnection, TcpListener
    from netkat.conn.bridged import BridgedSocket

T = TypeVar("T")

Served = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]
"""What start_server calls for each client: a function or a coroutine function."""

_LIMIT = 2**16
"""Bytes a StreamReader holds back at most before it stops reading; asyncio's own default."""


async def open_connection(
    host: str,
    port: int | str,
    *,
    timeout: float | None = CONNECT_TIMEOUT,
    source_address: tuple[str, int] | None = None,
    ssl: ssl.SSLContext | bool | None = None,
    server_hostname: str | None = None,
    limit: int = _LIMIT,
    stack: Stack | None = None,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """As asyncio.open_connection, past the host's rules: (StreamReader, StreamWriter).

    Every address of the name is tried in turn; ``timeout`` is seconds for each.
    With ``ssl`` the peer must prove to be ``server_hostname``, or ``host``. The stack is
    the default one unless another is given.

    >>> import asyncio
    >>> async def talk():
    ...     reader, writer = await netkat.open_connection("10.111.111.129", 80)
    ...     writer.write(b"GET / HTTP/1.0\\r\\n\\r\\n")
    ...     line = await reader.readline()
    ...     writer.close()
    ...     await writer.wait_closed()
    ...     return line
    >>> asyncio.run(talk())
    b'HTTP/1.1 200 OK\\r\\n'

    Errors: as create_connection; ssl.SSLError. Afterwards a stream has the socket's own
    (ConnectionResetError), since it is asyncio's.
    """
    stack = await stack_or_default(stack)
    conn = await async_connect.connect(_Loop(), stack, (host, port), timeout, source_address)
    sock = conn.as_socket()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    name = (server_hostname or host) if ssl else None
    transport = await _transport(
        sock, loop.create_connection(lambda: protocol, sock=sock, ssl=ssl, server_hostname=name)
    )
    return reader, _Writer(transport, protocol, reader, loop, sock)


async def start_server(
    client_connected_cb: Served,
    host: str | None,
    port: int,
    *,
    limit: int = _LIMIT,
    backlog: int = 128,
    ssl: ssl.SSLContext | None = None,
    start_serving: bool = True,
    stack: Stack | None = None,
) -> Server:
    """As asyncio.start_server, past the host's rules: a Server that calls back for each client.

    ``host`` is an address of this host; None or "" is that of the default route's
    interface. The callback gets a StreamReader and a StreamWriter.

    >>> import asyncio
    >>> async def serve():
    ...     greeted = asyncio.Event()
    ...     async def greet(reader, writer):
    ...         writer.write(b"hello\\n")
    ...         writer.close()
    ...         await writer.wait_closed()
    ...         greeted.set()
    ...     async with await netkat.start_server(greet, None, 8082) as server:
    ...         await greeted.wait()  # serve_forever() goes on instead
    >>> asyncio.run(serve())

    Errors: as create_server.
    """
    stack = await stack_or_default(stack)
    address = (host or "", port)
    listener = await off_the_loop(
        lambda: stack.create_server(address, backlog=backlog), lambda made: made.close()
    )
    server = Server(listener, client_connected_cb, limit=limit, ssl=ssl)
    if start_serving:
        await server.start_serving()
    return server


class Server(asyncio.AbstractServer):
    """What start_server gives: asyncio's server, in all that does not speak of sockets.

    >>> import asyncio
    >>> async def look():
    ...     async with await netkat.start_server(print, None, 8083) as server:
    ...         return server.is_serving(), server.sockets[0].getsockname()[1]
    >>> asyncio.run(look())
    (True, 8083)
    """

    def __init__(
        self,
        listener: TcpListener,
        client_connected_cb: Served,
        *,
        limit: int = _LIMIT,
        ssl: ssl.SSLContext | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener, self._serve = listener, client_connected_cb
        self._limit, self._ssl = limit, ssl
        self._watched: list[int] = []
        self._clients: set[asyncio.Task[None]] = set()
        self._ended = self._loop.create_future()
        listener.settimeout(0.0)

    @property
    def sockets(self) -> tuple[TcpListener, ...]:
        """The listener while it is open: ``server.sockets[0].getsockname()`` is the address."""
        return () if self._ended.done() else (self._listener,)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it was made in."""
        return self._loop

    def is_serving(self) -> bool:
        """True while clients are accepted."""
        return bool(self._watched)

    async def start_serving(self) -> None:
        """Start to accept. Idempotent. Errors: RuntimeError when closed."""
        if self._ended.done():
            raise RuntimeError("the server is closed")
        if not self._watched:
            # A copy of its own: all connections of an interface share one fault descriptor.
            self._watched = [
                os.dup(self._listener.readable_fileno()),
                os.dup(self._listener.fault_fileno()),
            ]
            for descriptor in self._watched:
                self._loop.add_reader(descriptor, self._accept)

    async def serve_forever(self) -> None:
        """Accept until it is cancelled or closed; a cancelled one is closed."""
        await self.start_serving()
        try:
            await asyncio.shield(self._ended)
        finally:
            self.close()
            await self.wait_closed()

    def close(self) -> None:
        """Stop accepting; open connections continue. Idempotent."""
        for descriptor in self._watched:
            self._loop.remove_reader(descriptor)
            os.close(descriptor)
        self._watched = []
        self._listener.close()
        if not self._ended.done():
            self._ended.set_result(None)

    async def wait_closed(self) -> None:
        """Wait until it is closed and every callback that was a coroutine has returned."""
        await asyncio.shield(self._ended)
        while self._clients:
            await asyncio.wait(self._clients)

    def _accept(self) -> None:
        try:
            self._listener.raise_fault()
            while True:
                conn, _ = self._listener.accept()
                task = self._loop.create_task(self._talk(conn))
                self._clients.add(task)
                task.add_done_callback(self._clients.discard)
        except WouldBlock:
            return
        except OSError as error:
            self._report("netkat's listener failed", error)
            self.close()

    async def _talk(self, conn: TcpConnection) -> None:
        reader = asyncio.StreamReader(limit=self._limit, loop=self._loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self._loop)
        try:
            sock = conn.as_socket()
            made = self._loop.connect_accepted_socket(lambda: protocol, sock, ssl=self._ssl)
            transport = await _transport(sock, made)
        except OSError as error:
            conn.close()
            self._report("a client of netkat's server could not be served", error)
            return
        writer = _Writer(transport, protocol, reader, self._loop, sock)
        try:
            outcome = self._serve(reader, writer)
            if outcome is not None:
                await outcome
        except Exception as error:
            self._report("unhandled exception in client_connected_cb", error)
            transport.close()

    def _report(self, message: str, error: Exception) -> None:
        self._loop.call_exception_handler({"message": message, "exception": error})


class _Writer(asyncio.StreamWriter):
    """asyncio's own, with the connection's names on every loop: uvloop asks the kernel for them."""

    def __init__(
        self,
        transport: asyncio.Transport,
        protocol: asyncio.StreamReaderProtocol,
        reader: asyncio.StreamReader,
        loop: asyncio.AbstractEventLoop,
        sock: BridgedSocket,
    ) -> None:
        super().__init__(transport, protocol, reader, loop)
        self._names = {"sockname": sock.getsockname(), "peername": sock.getpeername()}

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._names.get(name) or super().get_extra_info(name, default)


async def _transport(sock: BridgedSocket, made: Awaitable[Any]) -> asyncio.Transport:
    try:
        transport, _ = await made
    except BaseException:
        sock.close()
        raise
    return transport  # type: ignore[no-any-return]  # the awaitable is of Any


class _Loop:
    """What connecting needs of asyncio."""

    async def off(self, function: Callable[[], T], undo: Callable[[T], object] = id) -> T:
        return await off_the_loop(function, undo)

    async def readable(self, descriptors: Iterable[int], seconds: float | None) -> bool:
        return await _readable(descriptors, seconds)


async def _readable(descriptors: Iterable[int], seconds: float | None) -> bool:
    """Wait for one of the descriptors; False when the time is over."""
    loop = asyncio.get_running_loop()
    woken = asyncio.Event()
    async with _watching(loop, descriptors, woken.set):
        try:
            await asyncio.wait_for(woken.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        return True


@contextlib.asynccontextmanager
async def _watching(
    loop: asyncio.AbstractEventLoop, descriptors: Iterable[int], wake: Callable[[], None]
) -> AsyncIterator[None]:
    # Copies: a loop knows one reader a descriptor, and a fault descriptor is everybody's.
    copies = [os.dup(descriptor) for descriptor in descriptors]
    try:
        for copy in copies:
            loop.add_reader(copy, wake)
        yield
    finally:
        for copy in copies:
            loop.remove_reader(copy)
            os.close(copy)


async def off_the_loop(function: Callable[[], T], undo: Callable[[T], object] = id) -> T:
    """Call it in the loop's executor. What it made is undone where its caller was cancelled."""
    errand = Errand(function, undo)
    future = asyncio.get_running_loop().run_in_executor(None, errand.run)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        errand.abandon()
        raise


async def stack_or_default(stack: Stack | None) -> Stack:
    """The stack, or the default one: making that loads the library, and takes its time."""
    return stack if stack is not None else await off_the_loop(default_stack)
