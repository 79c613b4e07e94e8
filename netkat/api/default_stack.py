"""The default stack, and the functions that use it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, overload

from netkat.api.stack import Stack
from netkat.engine.process import Process
from netkat.engine.wait import CONNECT_TIMEOUT

if TYPE_CHECKING:
    from netkat.conn import TcpConnection, TcpListener, UdpConnection, UdpSocket


class _Default:
    """One stack for the whole process: made on first use, closed by reset() and at exit."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stack: Stack | None = None
        self._process: Process | None = None

    def __call__(self) -> Stack:
        stack = self._stack
        if stack is not None:
            return stack  # which refuses to do anything in a forked child
        self._require_process()
        with self._lock:
            if self._stack is None:
                self._stack = Stack()
            return self._stack

    def reset(self) -> None:
        """Close the stack, if there is one. Errors: SetupError in a forked child."""
        if self._stack is None:
            return
        self._require_process()
        with self._lock:
            stack, self._stack = self._stack, None
        if stack is not None:
            stack.close()

    def _require_process(self) -> None:
        """Asked before the lock, which another thread may have held during a fork."""
        if self._process is None:
            self._process = Process()
        self._process.require()


default_stack = _Default()
"""Call it for the stack that the functions of this module use."""


def reset_default_stack() -> None:
    """Close the default stack; the next function that needs one makes another.

    Connections that are open on it end with a RST, listeners close; connections that were
    closed before have up to two seconds to deliver what they hold. Without a default stack
    nothing happens. To have several at a time, make each a netkat.Stack.

    >>> netkat.create_connection(("10.111.111.129", 80), timeout=2).close()
    >>> netkat.reset_default_stack()
    >>> netkat.create_connection(("10.111.111.129", 80), timeout=2).close()

    Errors: SetupError in a forked child of the process that made the stack.
    """
    default_stack.reset()


def create_connection(
    address: tuple[str, int | str],
    timeout: float | None = CONNECT_TIMEOUT,
    source_address: tuple[str, int] | None = None,
) -> TcpConnection:
    """As Stack.create_connection, on a default stack: made on first use, closed at exit.

    ``timeout`` is seconds for each address of the name, and the connection's afterwards.

    >>> with netkat.create_connection(("10.111.111.129", 80), timeout=2) as conn:
    ...     conn.sendall(b"HEAD / HTTP/1.0\\r\\n\\r\\n")
    ...     conn.recv(15)
    b'HTTP/1.1 200 OK'

    Errors: Refused, NoAnswer, Unreachable and the other NetworkErrors; any SetupError.
    """
    return default_stack().create_connection(address, timeout, source_address)


def create_server(address: tuple[str, int], *, family: int = 0, backlog: int = 128) -> TcpListener:
    """As Stack.create_server, on a default stack; ``backlog`` clients may wait for accept().

    >>> with netkat.create_server(("", 8080)) as listener:
    ...     conn, address = listener.accept()
    ...     with conn:
    ...         conn.sendall(f"you come from {address[0]}".encode())

    Errors: PortTaken with its owner, BadArgument, any other SetupError.
    """
    return default_stack().create_server(address, family=family, backlog=backlog)


@overload
def open_datagram(
    address: tuple[str, int | str],
    timeout: float | None = None,
    source_address: tuple[str, int] | None = None,
) -> UdpConnection: ...


@overload
def open_datagram(
    address: None,
    timeout: float | None = None,
    source_address: tuple[str, int] | None = None,
) -> UdpSocket: ...


def open_datagram(
    address: tuple[str, int | str] | None,
    timeout: float | None = None,
    source_address: tuple[str, int] | None = None,
) -> UdpConnection | UdpSocket:
    """As Stack.open_datagram, on a default stack; ``timeout`` is seconds that a recv may wait.

    >>> with netkat.open_datagram(("10.111.111.129", 7), timeout=2) as conn:
    ...     conn.send(b"hello")
    ...     conn.recv()
    5
    b'hello'

    Errors: any SetupError; PortTaken with its owner.
    """
    return default_stack().open_datagram(address, timeout, source_address)
