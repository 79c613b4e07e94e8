"""Live capture: a ring for each interface, merged into one stream of packets."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, NamedTuple

from netkat.capture.capture_options import ANY_NAME, CaptureOptions
from netkat.capture.packet import Packet, from_record
from netkat.capture.reorder_buffer import ReorderBuffer
from netkat.capture.ring_source import RingSource, open_source
from netkat.errors import InterfaceDown, LibraryMissing, MissingCapability
from netkat.host.capabilities import drop_all
from netkat.host.capability_hints import raise_if_held
from netkat.system_calls import require_descriptors, system_call
from netkat.wire.ring import BLOCK, Block

if TYPE_CHECKING:
    from netkat.capture.own_frames import OwnFrameMarker
    from netkat.stack.records import RecordCopier


class Counts(NamedTuple):
    """The kernel's counters for the ring of an interface."""

    received: int
    dropped: int


DESCRIPTORS = 12
"""The most that a capture on one interface opens (8 measured), and room for its output."""


class LiveCapture:
    """Rings on the chosen interfaces, receiving when the constructor returns.

    Opened in the calling thread's network namespace and usable from any thread
    afterwards. close() is idempotent; wake() may be called from anywhere.
    Errors: those of compile_filter() and of ReceiveRing.
    """

    def __init__(self, options: CaptureOptions, own: OwnFrameMarker | None = None) -> None:
        """``own``, which is closed with the capture, marks frames that netkat sent."""
        self.options = options
        self._own = own
        with system_call("list the interfaces (socket, bind, getsockname, sendto, recvmsg)"):
            self._names = dict(socket.if_nameindex())
        self.began_ns = time.time_ns()
        self._fault: InterfaceDown | None = None
        self._reorder = ReorderBuffer(options.hold_ms / 1000 * 2 + 0.005)
        self._sources: list[RingSource] = []
        with ExitStack() as undo:
            if own is not None:
                undo.callback(own.close)
            require_descriptors(DESCRIPTORS, "start the capture")
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            undo.callback(os.close, self._wake)
            for name in dict.fromkeys(options.interfaces):
                try:
                    source = open_source(name, options, self._names)
                except MissingCapability as lacking:
                    raise_if_held(lacking)
                    raise
                undo.callback(source.ring.close)
                self._sources.append(source)
            self._poll = select.poll()
            for source in self._sources:
                self._poll.register(source.ring.fileno(), select.POLLIN)
            self._poll.register(self._wake, select.POLLIN)
            if own is not None:
                self._poll.register(own.fileno(), select.POLLIN)
            self._undo = undo.pop_all()

    @property
    def sources(self) -> list[tuple[str, int]]:
        """Name and link type of each interface."""
        return [(source.name, source.linktype) for source in self._sources]

    def watch_descriptor(self, descriptor: int) -> None:
        """Make wait() return when this descriptor becomes readable, too."""
        self._poll.register(descriptor, select.POLLIN)

    def filenos(self) -> list[int]:
        """Return descriptors for an event loop: readable when packets arrive or after wake()."""
        rings = [source.ring.fileno() for source in self._sources]
        return [*rings, self._wake, *([] if self._own is None else [self._own.fileno()])]

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for packets, at most ``timeout`` seconds; False after wake() or the timeout."""
        timeout = self.due(timeout)
        ready = self._poll.poll(None if timeout is None else max(timeout, 0) * 1000)
        woken = any(descriptor == self._wake for descriptor, _ in ready)
        if woken:
            with suppress(BlockingIOError):
                os.eventfd_read(self._wake)
        return bool(ready) and not woken

    def due(self, timeout: float | None = None) -> float | None:
        """Return the seconds until packets() must be called without an event, or ``timeout``."""
        if self._fault is not None:
            return 0
        if self._reorder:
            return self._reorder.slack if timeout is None else min(timeout, self._reorder.slack)
        return timeout

    def wake(self) -> None:
        """End the current or next wait(), from any thread."""
        os.eventfd_write(self._wake, 1)

    def blocks(self) -> Iterator[tuple[str, int, Block]]:
        """Yield the blocks in the rings without copying; each is released when the next is taken.

        Errors: InterfaceDown when an interface went down or away.
        """
        for source in self._sources:
            # At most as many as the ring has, so that a busy link does not starve the others.
            for _ in range(max(2, self.options.buffer // BLOCK)):
                block = source.ring.take()
                if block is None:
                    break
                try:
                    yield source.name, source.linktype, block
                finally:
                    source.ring.release()

    @property
    def blocks_match(self) -> bool:
        """True if the kernel applies the whole filter, so that blocks() may replace packets()."""
        return all(source.matches is None for source in self._sources)

    def packets(self) -> list[Packet]:
        """Return the packets received since the last call, by time.

        Errors: InterfaceDown, after the packets before it were returned.
        """
        if self._fault is not None:
            if self._reorder:
                return self._reorder.flush()
            fault, self._fault = self._fault, None
            raise fault
        if self._own is not None:
            self._own.process_events()
        found: list[Packet] = []
        asked_at = time.time_ns()
        for source in self._sources:
            for _ in range(max(2, self.options.buffer // BLOCK)):
                try:
                    block = source.ring.take()
                except InterfaceDown as down:
                    self._fault = down
                    break
                if block is None:
                    break
                found += self._read(source, block)
                source.ring.release()
        if len(self._sources) > 1:
            self._reorder.add(found)
            found = self._reorder.ready(asked_at)
        if self._fault is not None and not found and not self._reorder:
            fault, self._fault = self._fault, None
            raise fault
        return found

    def read(self, name: str, block: Block) -> list[Packet]:
        """Return the packets of a block from blocks()."""
        source = next(source for source in self._sources if source.name == name)
        return self._read(source, block)

    def _read(self, source: RingSource, block: Block) -> list[Packet]:
        packets = []
        for record in block.records():
            name = source.name
            if name == ANY_NAME:
                name = self._name(record.interface)
            packets.append(from_record(record, name, source.linktype))
        if source.matches is not None:
            matches = source.matches
            packets = [one for one in packets if matches(one.raw, one.length)]  # type: ignore[operator]
        if self._own is not None:
            self._own.mark(packets)
        return packets

    def _name(self, index: int) -> str:
        name = self._names.get(index)
        if name is None:
            # An interface created after the start. This looks in the calling thread's namespace,
            # so with --netns it may not find the name.
            try:
                name = socket.if_indextoname(index)
            except OSError:
                name = f"if{index}"
            self._names[index] = name
        return name

    def drop_privileges(self, *, but: Collection[str] = ()) -> None:
        """Drop this thread's capabilities, except those in ``but``: capturing requires none.

        Errors: SetupError when some are still held.
        """
        drop_all(but=but)

    def stop(self) -> list[Packet]:
        """Stop receiving; return the packets that are in the rings."""
        for source in self._sources:
            source.ring.stop()
        # The kernel releases an incomplete block when its timeout expires.
        limit = time.monotonic() + self.options.hold_ms / 1000 * 2 + 0.01
        rest: list[Packet] = []
        while (left := limit - time.monotonic()) > 0:
            self._poll.poll(left * 1000)
            rest += self.packets()
        rest += self._reorder.flush()
        return rest

    def counts(self) -> dict[str, Counts]:
        """Return the kernel's counters for each interface."""
        return {source.name: Counts(*source.ring.statistics()) for source in self._sources}

    def close(self) -> None:
        """Close the rings. Idempotent."""
        self._undo.close()


def block_copier() -> RecordCopier | None:
    """Return the library's copier of whole blocks, or None if the library is missing."""
    from netkat.stack.records import RecordCopier

    try:
        return RecordCopier(BLOCK)
    except LibraryMissing:
        return None
