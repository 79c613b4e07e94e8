"""A pump that passes each frame to a callback (-d): the frames pass through Python here."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from netkat.engine.pump import BATCH, Pump
from netkat.engine.wait import wait_readable
from netkat.errors import NetkatError

if TYPE_CHECKING:
    from netkat.stack import Stack
    from netkat.wire.packet_socket import PacketSocket


class TappedPump(Pump):
    """As Pump, with two threads: one receives, one sends what no other thread has sent."""

    def __init__(
        self,
        wire: PacketSocket,
        stack: Stack,
        *,
        on_fault: Callable[[NetkatError], None],
        housekeeping: Callable[[], bool],
        tap: Callable[[bytes, bool], None],
    ) -> None:
        self._tap = tap
        self._sending = threading.Lock()
        self._again = False
        super().__init__(wire, stack, on_fault=on_fault, housekeeping=housekeeping)

    def flush(self) -> None:
        """As Pump.flush."""
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

    def wait(self, descriptors: Sequence[int], deadline: float | None) -> set[int]:
        """As Pump.wait; the pump's own threads move the frames."""
        return wait_readable(descriptors, deadline)

    def _begin(self) -> dict[str, Callable[[], None]]:
        self._stack.arm(self._incoming.pointer, self._incoming.capacity)
        return {"receive": self._receive, "send": self._send}

    def _end(self) -> None:
        """Nothing was attached."""

    def _drain(self) -> None:
        batch = self._outgoing
        while count := self._stack.drain(batch.pointer, BATCH):
            for i in range(count):
                self._tap(batch.frame(i), True)
            self._wire.send(batch, count)

    def _receive(self) -> None:
        batch, stack, wire = self._incoming, self._stack, self._wire
        poller = select.poll()
        poller.register(wire.fileno(), select.POLLIN)
        poller.register(self._stop, select.POLLIN)
        while not self._stopping:
            poller.poll()
            while (count := wire.receive(batch)) and not self._stopping:
                for i in range(count):
                    self._tap(batch.frame(i), False)
                stack.inject(batch.pointer, count)
                self.flush()

    def _send(self) -> None:
        def wait(descriptors: Sequence[int], milliseconds: int) -> set[int]:
            poller = select.poll()
            for descriptor in descriptors:
                poller.register(descriptor, select.POLLIN)
            return {one for one, _ in poller.poll(milliseconds)}

        self._keep_house(wait, (self._stack.outgoing_fd,))

    def _noticed(self, ready: set[int]) -> None:
        if self._stack.outgoing_fd in ready:
            os.eventfd_read(self._stack.outgoing_fd)
            self.flush()
