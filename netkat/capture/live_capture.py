"""Watching interfaces: one ring each, their packets in one stream."""

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
    """The kernel's counters of one interface's ring."""

    received: int
    dropped: int


DESCRIPTORS = 12
"""The most that a capture on one interface opens (8 measured), and room for its output."""


class LiveCapture:
    """Rings on the interfaces of CaptureOptions, armed when the constructor returns.

    Opened in the calling thread's network namespace and usable from any thread
    afterwards. close() is idempotent; wake() may be called from anywhere.
    Errors: those of compile_filter() and of ReceiveRing.
    """

    def __init__(self, options: CaptureOptions, own: OwnFrameMarker | None = None) -> None:
        """``own``, which is closed with it, marks what netkat sent."""
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
        """Each interface's name and link type."""
        return [(source.name, source.linktype) for source in self._sources]

    def watch_descriptor(self, descriptor: int) -> None:
        """End a wait() when this descriptor, too, becomes readable."""
        self._poll.register(descriptor, select.POLLIN)

    def filenos(self) -> list[int]:
        """Descriptors that poll readable while packets wait or after wake(), for an event loop."""
        rings = [source.ring.fileno() for source in self._sources]
        return [*rings, self._wake, *([] if self._own is None else [self._own.fileno()])]

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for packets, at most ``timeout`` seconds; False after wake() or in vain."""
        timeout = self.due(timeout)
        ready = self._poll.poll(None if timeout is None else max(timeout, 0) * 1000)
        woken = any(descriptor == self._wake for descriptor, _ in ready)
        if woken:
            with suppress(BlockingIOError):
                os.eventfd_read(self._wake)
        return bool(ready) and not woken

    def due(self, timeout: float | None = None) -> float | None:
        """Seconds until packets() has something no descriptor tells of; ``timeout`` at most."""
        if self._fault is not None:
            return 0
        if self._reorder:
            return self._reorder.slack if timeout is None else min(timeout, self._reorder.slack)
        return timeout

    def wake(self) -> None:
        """End a wait() in another thread, or the next one."""
        os.eventfd_write(self._wake, 1)

    def blocks(self) -> Iterator[tuple[str, int, Block]]:
        """The blocks that wait, in place: each is gone when the next is asked for.

        Errors: InterfaceDown when an interface went down or away.
        """
        for source in self._sources:
            # As many as the ring has: a busy link must not starve the others.
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
        """True when blocks() holds exactly what packets() would: no filter left to user space."""
        return all(source.matches is None for source in self._sources)

    def packets(self) -> list[Packet]:
        """The packets that wait, by time.

        Errors: InterfaceDown, once what was taken before it has been given.
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
        """The packets of a block that blocks() gave."""
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
            # An interface made after we began. This asks the namespace of the
            # calling thread, so within --netns it may not be known.
            try:
                name = socket.if_indextoname(index)
            except OSError:
                name = f"if{index}"
            self._names[index] = name
        return name

    def drop_privileges(self, *, but: Collection[str] = ()) -> None:
        """Give up this thread's capabilities but the named ones, for good: watching needs none.

        Errors: SetupError when some are still held.
        """
        drop_all(but=but)

    def stop(self) -> list[Packet]:
        """Let nothing more in; what was in the rings until now."""
        for source in self._sources:
            source.ring.stop()
        # The kernel hands over a block that is not full when its time is up.
        limit = time.monotonic() + self.options.hold_ms / 1000 * 2 + 0.01
        rest: list[Packet] = []
        while (left := limit - time.monotonic()) > 0:
            self._poll.poll(left * 1000)
            rest += self.packets()
        rest += self._reorder.flush()
        return rest

    def counts(self) -> dict[str, Counts]:
        """The kernel's counters, by interface."""
        return {source.name: Counts(*source.ring.statistics()) for source in self._sources}

    def close(self) -> None:
        """Close; more than once is once."""
        self._undo.close()


def block_copier() -> RecordCopier | None:
    """What copies whole blocks into files; None without the library, and Python does it, slower."""
    from netkat.stack.records import RecordCopier

    try:
        return RecordCopier(BLOCK)
    except LibraryMissing:
        return None
