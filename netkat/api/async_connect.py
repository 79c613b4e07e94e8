"""Connecting while a loop goes on: the same steps for asyncio, and for trio by anyio."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from netkat import flow
from netkat.api.stack import Stack, resolve_targets
from netkat.conn.stream import TcpConnection
from netkat.errors import NetkatError

if TYPE_CHECKING:
    from netkat.engine.session import Session
    from netkat.options import PathOptions

T = TypeVar("T")


class Errand(Generic[T]):
    """A call in a thread. What it made is undone where its caller was cancelled, in that
    thread if need be: the loop may have ended by then.
    """

    def __init__(self, function: Callable[[], T], undo: Callable[[T], object]) -> None:
        self._function, self._undo = function, undo
        self._lock, self._made, self._abandoned = threading.Lock(), list[T](), False

    def run(self) -> T:
        """Do it, in the thread."""
        result = self._function()
        with self._lock:
            self._made.append(result)
            if not self._abandoned:
                return result
        self._undo(result)
        return result

    def abandon(self) -> None:
        """Mark the call as cancelled: its result is undone."""
        with self._lock:
            self._abandoned, late = True, list(self._made)
        for result in late:
            self._undo(result)


class Loop(Protocol):
    """What connecting needs of a loop."""

    async def off(self, function: Callable[[], T], undo: Callable[[T], object] = id) -> T:
        """Call it in a thread. What it made is undone where its caller was cancelled."""

    async def readable(self, descriptors: Iterable[int], seconds: float | None) -> bool:
        """Wait for one of the descriptors; False when the time is over."""


async def connect(
    loop: Loop,
    stack: Stack,
    address: tuple[str, int | str],
    timeout: float | None,
    source_address: tuple[str, int] | None,
) -> TcpConnection:
    """Every address of the name in turn, ``timeout`` seconds for each.

    Errors: as Stack.create_connection.
    """
    last: NetkatError | None = None
    options = stack.path_options(source_address)
    wanted = await loop.off(lambda: resolve_targets(flow.Protocol.TCP, address, options))
    for target in wanted:
        try:
            return TcpConnection(await _open(loop, stack, target, options, timeout))
        except NetkatError as error:
            last = error
    assert last is not None, "there is at least one target"
    raise last


async def _open(
    loop: Loop,
    stack: Stack,
    target: tuple[flow.IPAddress, int],
    options: PathOptions,
    timeout: float | None,
) -> Session:
    session = await loop.off(lambda: stack.begin(*target, options), lambda begun: begun.abort())
    began = time.monotonic()
    try:
        while not stack.is_established(session):
            left = None if timeout is None else began + timeout - time.monotonic()
            descriptors = session.endpoint.writable_fd(), session.uplink.fault_fd
            if not await loop.readable(descriptors, left):
                raise session.no_answer(time.monotonic() - began)
            if session.uplink.fault is not None:
                raise session.uplink.fault
    except BaseException:
        session.abort()
        raise
    return session
