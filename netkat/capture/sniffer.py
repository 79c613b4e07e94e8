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
    """Packets as they come, oldest first; armed when it is made, so none after that is missed.

    Iterate it with ``for`` or ``async for`` (asyncio), once or in pieces: what
    comes in between waits in the ring. It ends after ``count`` packets, after
    ``timeout`` seconds, or by close() from any thread. A context manager of both
    kinds; an iteration that runs to its end closes it.

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
        """The names that are watched."""
        return [name for name, _ in self._capture.sources]

    def counts(self) -> dict[str, Counts]:
        """The kernel's counters by interface: frames received by the filter, and dropped."""
        if not self._closed:
            self._counts = self._capture.counts()
        return self._counts

    def __iter__(self) -> Iterator[Packet]:
        return self

    def __next__(self) -> Packet:
        """The next packet; waits for it. Errors: InterfaceDown."""
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
        """The same, on asyncio's loop; cancelling it loses no packet."""
        import asyncio

        while (packet := self._next()) is None:
            left = self._patience()
            if not self._begin():
                raise StopAsyncIteration
            try:
                if left == 0:
                    loop = asyncio.get_running_loop()
                    # Up to a tenth of a second until the rings have handed over.
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
        """End it; more than once is once. A wait in another thread ends."""
        with self._lock:
            if self._closed:
                return
            self._counts = self._capture.counts()
            self._closed, busy = True, self._busy
        if busy:
            # Whoever reads the rings takes them down when it has stopped.
            self._capture.wake()
        else:
            self._capture.close()

    def _fill(self) -> None:
        """Take what waits in the rings; when an interface is gone, its last packets as well."""
        if self._fault is not None:
            return
        try:
            self._waiting.extend(self._capture.packets())
        except InterfaceDown as down:
            self._fault = down
            with suppress(InterfaceDown):
                self._waiting.extend(self._capture.stop())

    def _begin(self) -> bool:
        """Take the rings for reading; False when they are closed."""
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
    """Wait until one of them is readable, or in vain."""
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

    ``expression`` is in tcpdump's filter language; ``interface`` a name, several,
    "any", or None for the first that is up; ``count`` packets end it (0: never),
    ``timeout`` seconds as well; ``buffer`` bytes of ring an interface; ``netns`` a
    namespace's name, path or pid. Needs CAP_NET_RAW.

    >>> with netkat.sniff("tcp port 80", interface="eth0", count=2) as packets:
    ...     with netkat.create_connection(("10.111.111.129", 80), timeout=2):
    ...         [packet.direction for packet in packets]
    ['out', 'in']

    Errors: BadArgument (also for a wrong filter), InterfaceNotFound,
    InterfaceDown, MissingCapability; InterfaceDown while iterating when an
    interface goes away.
    """
    if count < 0 or snaplen < 0 or buffer <= 0 or (timeout is not None and timeout < 0):
        raise BadArgument("count, snaplen, buffer and timeout are not negative")
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
    """The packets of a pcap or pcapng file that match.

    >>> for packet in netkat.read_capture("web.pcap", "tcp"):
    ...     packet.summary()
    'IP 192.0.2.1.40000 > 10.111.111.129.80: Flags [S], seq 1, win 64240, length 0'

    Errors: BadArgument (no file, no capture file, a wrong filter; also from the
    iteration, where a file is damaged: what came before has been given).
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
