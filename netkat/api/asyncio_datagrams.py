"""UDP for asyncio: its datagram protocols over netkat's endpoints."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from netkat.api.asyncio_streams import off_the_loop, stack_or_default
from netkat.conn import UdpConnection
from netkat.errors import NetkatError, NetworkError
from netkat.stack.codes import WouldBlock

if TYPE_CHECKING:
    from netkat.api.stack import Stack
    from netkat.conn import UdpSocket
    from netkat.conn.socket_base import Address

P = TypeVar("P", bound=asyncio.DatagramProtocol)

_HIGH_WATER = 64 << 10
"""Bytes held back for the network before the protocol is asked to pause; asyncio's default."""


async def create_datagram_endpoint(
    protocol_factory: Callable[[], P],
    local_addr: tuple[str, int] | None = None,
    remote_addr: tuple[str, int | str] | None = None,
    *,
    stack: Stack | None = None,
) -> tuple[asyncio.DatagramTransport, P]:
    """As loop.create_datagram_endpoint, past the host's rules: (transport, protocol).

    With ``remote_addr`` the endpoint has that one peer; without, sendto takes an address
    (not a name) and the interfaces that lead there are opened as they are needed.
    ``local_addr`` is an address of this host, "" its default route's interface's.

    >>> import asyncio
    >>> class Answer(asyncio.DatagramProtocol):
    ...     def __init__(self):
    ...         self.came = asyncio.get_running_loop().create_future()
    ...     def datagram_received(self, data, addr):
    ...         self.came.set_result(data)
    >>> async def ask():
    ...     transport, protocol = await netkat.create_datagram_endpoint(
    ...         Answer, remote_addr=("10.111.111.129", 7)
    ...     )
    ...     transport.sendto(b"hello")
    ...     answer = await protocol.came
    ...     transport.close()
    ...     return answer
    >>> asyncio.run(ask())
    b'hello'

    Errors: as open_datagram. Later ones go to protocol.error_received.
    """
    stack = await stack_or_default(stack)
    conn: UdpConnection | UdpSocket = await off_the_loop(
        lambda: stack.open_datagram(remote_addr, 0.0, local_addr),
        lambda made: made.close(),
    )
    protocol = protocol_factory()
    return _Transport(conn, protocol, asyncio.get_running_loop()), protocol


class _Transport(asyncio.DatagramTransport):
    def __init__(
        self,
        conn: UdpConnection | UdpSocket,
        protocol: asyncio.DatagramProtocol,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__()
        self._conn, self._protocol, self._loop = conn, protocol, loop
        self._waiting: deque[tuple[bytes, Address | None]] = deque()
        self._watched: set[int] = set()
        self._writable: int | None = None
        self._names: dict[str, Any] = {}
        self._closing = self._paused = False
        loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._protocol.connection_made(self)
        if not self._closing:
            self._watch()

    def _watch(self) -> None:
        conn = self._conn
        ends = [conn.fileno()]
        if isinstance(conn, UdpConnection):
            ends = [conn.readable_fileno(), conn.fault_fileno()]
        for end in ends:
            # Copies: all connections of an interface share one fault descriptor.
            copy = os.dup(end)
            self._watched.add(copy)
            self._loop.add_reader(copy, self._receive)

    def _receive(self) -> None:
        try:
            while not self._closing:
                self._protocol.datagram_received(*self._conn.recvfrom())
        except WouldBlock:
            self._look_for_fault()
        except NetworkError as error:
            self._protocol.error_received(error)
            self._look_for_fault()
        except (NetkatError, OSError) as fault:  # the interface failed, or the stack was closed
            self._end(fault)

    def _look_for_fault(self) -> None:
        if isinstance(self._conn, UdpConnection) and not self._closing:
            try:
                self._conn.raise_fault()
            except NetkatError as fault:
                self._end(fault)

    def sendto(self, data: Any, addr: Any = None) -> None:
        one = self._conn.getpeername()[:2] if isinstance(self._conn, UdpConnection) else None
        if one is not None and addr is not None and addr[:2] != one:
            raise ValueError("the endpoint has one peer, and this is another's address")
        if self._closing:
            return
        self._waiting.append((bytes(data), addr))
        if len(self._waiting) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._waiting:
            data, to = self._waiting[0]
            try:
                if isinstance(self._conn, UdpConnection):
                    self._conn.send(data)
                else:
                    assert to is not None, "an endpoint without a peer is told where to"
                    self._conn.sendto(data, to[:2])
            except WouldBlock:
                self._wait_for_room()
                return
            except OSError as error:
                self._protocol.error_received(error)
            self._waiting.popleft()
        self._room_again()

    def _wait_for_room(self) -> None:
        if self._writable is None:
            self._writable = os.dup(self._conn.writable_fileno())
            self._loop.add_reader(self._writable, self._flush)
        if not self._paused and sum(len(data) for data, _ in self._waiting) > _HIGH_WATER:
            self._paused = True
            self._protocol.pause_writing()

    def _room_again(self) -> None:
        self._unwatch_writable()
        if self._paused:
            self._paused = False
            self._protocol.resume_writing()
        if self._closing:
            self._end(None)

    def _unwatch_writable(self) -> None:
        if self._writable is not None:
            self._loop.remove_reader(self._writable)
            os.close(self._writable)
            self._writable = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        known = {"sockname": "getsockname", "peername": "getpeername"}.get(name)
        try:
            if known is not None:
                self._names[name] = getattr(self._conn, known)()
        except (OSError, AttributeError):
            pass
        return self._names.get(name, default)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._unwatch()
        if not self._waiting:
            self._end(None)

    def abort(self) -> None:
        self._waiting.clear()
        self._end(None)

    def _unwatch(self) -> None:
        for copy in self._watched:
            self._loop.remove_reader(copy)
            os.close(copy)
        self._watched.clear()

    def _end(self, fault: Exception | None) -> None:
        self._closing = True
        self._unwatch()
        self._unwatch_writable()
        self._waiting.clear()
        if self._conn.fileno() != -1:
            for name in ("sockname", "peername"):  # for connection_lost and after
                self.get_extra_info(name)
            self._conn.close()
            self._loop.call_soon(self._protocol.connection_lost, fault)
