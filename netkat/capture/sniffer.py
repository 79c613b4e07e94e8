"""Packets for Python programs: ``for packet in netkat.sniff(…)`` and ``async for``."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

from netkat import finalizers
from netkat.capture.capture_options import DEFAULT_BUFFER, CaptureOptions
from netkat.capture.interface_list import select_interfaces
from netkat.capture.live_capture import Counts, LiveCapture
from netkat.capture.own_frames import OwnFrameMarker
from netkat.capture.packet import Packet
from netkat.capture.run_in_netns import run_in_netns
from netkat.errors import BadArgument, InterfaceDown
from netkat.resources import Closeable

if TYPE_CHECKING:
    import os

    from netkat.capture.capture_file import CaptureFile
    from netkat.capture.file_filter import FileFilter


class Sniffer(Closeable):
    """Captured packets, oldest first, from the moment that the constructor returns.

    Iterate with ``for`` or ``async for`` (asyncio), once or in parts: packets in between wait in
    the ring. The iteration ends after ``count`` packets, after ``timeout`` seconds, or by close()
    from any thread, and closes the sniffer. It is a context manager and an async one.

    >>> with netkat.sniff("tcp port 80", interface="eth0", timeout=0.1) as packets:
    ...     packets.interfaces
    ['eth0']
    """

    def __init__(
        self, options: CaptureOptions, netns: str | int | None, count: int, timeout: float | None
    ):
        """Errors: any SetupError."""
        finalizers.start()
        self._capture = run_in_netns(netns, lambda: LiveCapture(options, OwnFrameMarker()))
        self._waiting: deque[Packet] = deque()
        self._left = count or None
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._lock = threading.Lock()
        self._closed = self._busy = self._over = False
        self._fault: InterfaceDown | None = None
        self._counts: dict[str, Counts] = {}

    @property
    def interfaces(self) -> list[str]:
        """Names of the captured interfaces."""
        return [name for name, _ in self._capture.sources]

    def counts(self) -> dict[str, Counts]:
        """Return the kernel's counters for each interface: frames received by filter, and drops."""
        if not self._closed:
            self._counts = self._capture.counts()
        return self._counts

    def __iter__(self) -> Iterator[Packet]:
        return self

    def __next__(self) -> Packet:
        """Wait for the next packet and return it. Errors: InterfaceDown."""
        while (packet := self._next()) is None:
            left = self._patience()
            if not self._begin():
                raise StopIteration
            try:
                if left == 0:
                    self._waiting.extend(self._capture.stop())
                    self._over = True
                else:
                    self._capture.wait(left)
                    self._fill()
            finally:
                self._end()
        return packet

    def __aiter__(self) -> AsyncIterator[Packet]:
        return self

    async def __anext__(self) -> Packet:
        """Like __next__(), for asyncio; cancelling loses no packet."""
        import asyncio

        while (packet := self._next()) is None:
            left = self._patience()
            if not self._begin():
                raise StopAsyncIteration
            try:
                if left == 0:
                    loop = asyncio.get_running_loop()
                    # It takes up to 0.1 s until the rings have released all blocks.
                    rest = await loop.run_in_executor(None, self._capture.stop)
                    self._waiting.extend(rest)
                    self._over = True
                else:
                    await _readable(self._capture.filenos(), self._capture.due(left))
                    self._fill()
            finally:
                self._end()
        return packet

    def close(self) -> None:
        """Close the capture and end a wait in another thread. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._counts = self._capture.counts()
            self._closed, busy = True, self._busy
        if busy:
            # The thread that reads the rings closes them.
            self._capture.wake()
        else:
            self._capture.close()

    def _fill(self) -> None:
        """Take the packets from the rings, also the last ones of an interface that is gone."""
        if self._fault is not None:
            return
        try:
            self._waiting.extend(self._capture.packets())
        except InterfaceDown as down:
            self._fault = down
            with suppress(InterfaceDown):
                self._waiting.extend(self._capture.stop())

    def _begin(self) -> bool:
        """Reserve the rings for reading; return False if they are closed."""
        with self._lock:
            self._busy = not self._closed
            return self._busy

    def _end(self) -> None:
        with self._lock:
            self._busy, closed = False, self._closed
        if closed:
            self._capture.close()

    async def __aenter__(self) -> Sniffer:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self, finalize: Callable[..., None] = finalizers.close_unclosed) -> None:
        if not getattr(self, "_closed", True):
            finalize(self, self.close)

    def _next(self) -> Packet | None:
        if self._left == 0:
            self.close()
            return None
        if not self._waiting and not self._over and self._begin():
            try:
                self._fill()
            finally:
                self._end()
        if not self._waiting:
            if self._fault is not None:
                self.close()
                raise self._fault
            if self._over:
                self.close()
            return None
        if self._left is not None:
            self._left -= 1
        return self._waiting.popleft()

    def _patience(self) -> float | None:
        if self._deadline is None:
            return None
        return max(self._deadline - time.monotonic(), 0)


async def _readable(descriptors: Sequence[int], timeout: float | None) -> None:
    """Wait until a descriptor is readable or the timeout expires."""
    import asyncio

    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    for descriptor in descriptors:
        loop.add_reader(descriptor, wake)
    try:
        await asyncio.wait_for(ready, timeout)
    except asyncio.TimeoutError:
        pass
    finally:
        for descriptor in descriptors:
            loop.remove_reader(descriptor)


def sniff(
    expression: str = "",
    *,
    interface: str | Sequence[str] | None = None,
    count: int = 0,
    timeout: float | None = None,
    direction: str = "inout",
    promiscuous: bool = True,
    snaplen: int = 262144,
    buffer: int = DEFAULT_BUFFER,
    netns: str | int | None = None,
) -> Sniffer:
    """Capture packets, as ``netkat sniff`` does.

    ``expression`` is a pcap-filter(7) expression. ``interface`` is a name, several, "any", or None
    for the first that is up. The capture ends after ``count`` packets (0: no limit) or ``timeout``
    seconds. ``buffer`` is the ring size of each interface in bytes; ``netns`` a network
    namespace's name, path or pid. Requires CAP_NET_RAW.

    >>> with netkat.sniff("tcp port 80", interface="eth0", count=2) as packets:
    ...     with netkat.create_connection(("10.111.111.129", 80), timeout=2):
    ...         [packet.direction for packet in packets]
    ['out', 'in']

    Errors: BadArgument (also for an invalid filter), InterfaceNotFound,
    InterfaceDown, MissingCapability; InterfaceGone while iterating if an interface is deleted.
    """
    if count < 0 or snaplen < 0 or buffer <= 0 or (timeout is not None and timeout < 0):
        raise BadArgument("count, snaplen, buffer and timeout must not be negative")
    words = [interface] if isinstance(interface, str) else list(interface or ())
    options = CaptureOptions(
        interfaces=select_interfaces(words, netns),
        filter_text=expression,
        direction=direction,
        promiscuous=promiscuous,
        snaplen=snaplen or 262144,
        buffer=buffer,
    )
    return Sniffer(options, netns, count, timeout)


def read_capture(path: str | os.PathLike[str], expression: str = "") -> Iterator[Packet]:
    """Read a pcap or pcapng file and return the packets that match.

    >>> for packet in netkat.read_capture("web.pcap", "tcp"):
    ...     packet.summary()
    'IP 192.0.2.1.40000 > 10.111.111.129.80: Flags [S], seq 1, win 64240, length 0'

    Errors: BadArgument (no such file, not a capture file, invalid filter; also from the iteration
    if the file is damaged, after the packets before the damage).
    """
    import os

    from netkat.capture.capture_file import CaptureFile
    from netkat.capture.file_filter import FileFilter

    file = CaptureFile(os.fspath(path))
    try:
        file_filter = FileFilter(CaptureOptions(filter_text=expression), file.linktype)
    except BaseException:
        file.close()
        raise
    return _packets(file, file_filter)


def _packets(file: CaptureFile, file_filter: FileFilter) -> Iterator[Packet]:
    with file:
        yield from file_filter.apply(file.packets)
