"""The pump: frames between wire and stack, whole batches at a time.

Two threads, each asleep in poll(2) until there is work: one moves frames from
the wire into the stack, one moves what the stack wants sent (timers, answers of
its own goroutines) onto the wire. Whoever else has just made the stack produce
frames, a writer or the receiving thread, calls flush() and sends them itself:
handing over to a sleeping thread would cost more than the work.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from netkat.errors import NetkatError
from netkat.wire.batch import ReceiveBatch, SendBatch

if TYPE_CHECKING:
    from netkat.stack import Stack
    from netkat.wire.base import Wire

_log = logging.getLogger(__name__)

Tap = Callable[[bytes, bool, str, bool, float], None]
"""tap(frame, outgoing, interface, ethernet, time): called with each frame, for -d."""

REPORT = "this is a fault of netkat: -vv shows where; please report it"

BATCH = 64
"""Frames a batch. 64 super-frames are 4 MiB: beyond that the cost of a call no longer shows."""

HOUSEKEEPING = 0.1
"""Seconds between two looks at closing connections, while there are any."""


class Pump:
    """Two threads between one wire and one stack. close() joins them; more than once is once."""

    def __init__(
        self,
        wire: Wire,
        stack: Stack,
        *,
        on_fault: Callable[[NetkatError], None],
        housekeeping: Callable[[], bool],
        tap: Callable[[bytes, bool], None] | None = None,
    ) -> None:
        self._wire, self._stack = wire, stack
        self._on_fault, self._housekeeping, self._tap = on_fault, housekeeping, tap
        self._incoming, self._outgoing = ReceiveBatch(BATCH), SendBatch(BATCH)
        stack.arm(self._incoming.pointer, BATCH)
        self._sending = threading.Lock()
        self._again = False
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._attention = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._guarded, args=(loop,), name=f"netkat-{name}", daemon=True)
            for name, loop in (("receive", self._receive_loop), ("send", self._send_loop))
        ]
        for thread in self._threads:
            thread.start()

    def flush(self) -> None:
        """Send all that the stack has waiting, on this thread or on the one that is at it."""
        self._again = True
        # Not "with": a thread that finds the lock held leaves its frames to the
        # holder, which looks once more after letting go.
        while self._again and self._sending.acquire(blocking=False):
            try:
                self._again = False
                self._drain()
            except NetkatError as fault:
                self._on_fault(fault)
                return
            finally:
                self._sending.release()

    def attend(self) -> None:
        """Something is closing: have the sending thread look after it now and then."""
        os.eventfd_write(self._attention, 1)

    def close(self) -> None:
        """Stop both threads and wait for them. What still waits to be sent is sent first."""
        if self._stopping:
            return
        self._stopping = True
        try:
            self.flush()
        finally:
            os.eventfd_write(self._stop, 1)
            for thread in self._threads:
                thread.join()
            os.close(self._stop)
            os.close(self._attention)

    def _drain(self) -> None:
        batch, stack, wire = self._outgoing, self._stack, self._wire
        pointer = batch.pointer
        while count := stack.drain(pointer, BATCH):
            if self._tap is not None:
                for i in range(count):
                    self._tap(batch.frame(i), True)
            wire.send(batch, count)

    def _receive_loop(self) -> None:
        batch, stack, wire = self._incoming, self._stack, self._wire
        pointer = batch.pointer
        poller = select.poll()
        poller.register(wire.fileno(), select.POLLIN)
        poller.register(self._stop, select.POLLIN)
        while not self._stopping:
            poller.poll()
            while (count := wire.receive(batch)) and not self._stopping:
                if self._tap is not None:
                    for i in range(count):
                        self._tap(batch.frame(i), False)
                stack.inject(pointer, count)
                self.flush()

    def _send_loop(self) -> None:
        outgoing = self._stack.outgoing_fd
        wants_housekeeping = (self._attention, self._stack.bridges_fd)
        poller = select.poll()
        for descriptor in (outgoing, self._stop, *wants_housekeeping):
            poller.register(descriptor, select.POLLIN)
        timeout: float | None = None
        next_look = 0.0
        while not self._stopping:
            ready = {descriptor for descriptor, _ in poller.poll(timeout)}
            if outgoing in ready:
                os.eventfd_read(outgoing)
                self.flush()
            for descriptor in ready.intersection(wants_housekeeping):
                os.eventfd_read(descriptor)
                timeout = HOUSEKEEPING * 1000
            now = time.monotonic()
            if timeout is not None and now >= next_look:
                next_look = now + HOUSEKEEPING
                timeout = HOUSEKEEPING * 1000 if self._housekeeping() else None

    def _guarded(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except NetkatError as fault:
            if not self._stopping:
                self._on_fault(fault)
        except Exception as error:
            # A pump that died in silence would leave every connection waiting for ever.
            _log.exception("the pump stopped")
            self._on_fault(NetkatError(f"the pump stopped: {error!r}", hint=REPORT))
