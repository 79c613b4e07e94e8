"""The pump: frames between wire and stack, whole batches at a time.

Waking a sleeping thread costs more than the work itself. So a thread that makes the stack
produce frames sends them, in the same library call, and a thread that waits for its
connection calls wait(), which receives. The pump's own thread does both while no other
thread does. The library moves frames without the interpreter lock, so a program that
computes in another thread does not delay them.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from netkat.engine.wait import remaining, wait_readable
from netkat.errors import LocalSystemError, NetkatError
from netkat.stack.codes import Code, StackError, WireFailed, WouldBlock
from netkat.system_calls import system_call, thread_error
from netkat.wire.batch import ReceiveBatch, SendBatch

if TYPE_CHECKING:
    from netkat.stack import Stack
    from netkat.wire.packet_socket import PacketSocket

_log = logging.getLogger(__name__)

Tap = Callable[[bytes, bool, str, bool, float], None]
"""tap(frame, outgoing, interface, ethernet, time): called with each frame, for -d."""

REPORT = "this is a fault of netkat: -vv shows where; please report it"

BATCH = 64
"""Frames a system call. 64 GSO packets are 4 MiB: beyond that the cost of a call no longer
shows."""

HOUSEKEEPING = 0.1
"""Seconds between two checks of closing connections, while there are any."""


class Pump:
    """Moves frames between one wire and one stack. close() ends its thread and is idempotent."""

    def __init__(
        self,
        wire: PacketSocket,
        stack: Stack,
        *,
        on_fault: Callable[[NetkatError], None],
        housekeeping: Callable[[], bool],
    ) -> None:
        self._wire, self._stack = wire, stack
        self._on_fault, self._housekeeping = on_fault, housekeeping
        # Half is received into while the other half is handed to the stack.
        self._incoming, self._outgoing = ReceiveBatch(2 * BATCH), SendBatch(BATCH)
        self._stopping = False
        self._main = threading.main_thread().ident
        self._threads: list[threading.Thread] = []
        with ExitStack() as undo:
            with system_call("create an eventfd (eventfd2)"):
                self._stop = os.eventfd(0, os.EFD_CLOEXEC)
                undo.callback(os.close, self._stop)
                self._attention = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                undo.callback(os.close, self._attention)
            loops = self._begin()
            undo.callback(self._join)
            for name, loop in loops.items():
                self._start(name, loop)
            self._undo = undo.pop_all()

    def flush(self) -> None:
        """Send all that the stack has waiting, on this thread or on the one that is at it."""
        try:
            self._stack.flush()
        except (StackError, WireFailed) as error:
            self._failed(error)

    def wait(self, descriptors: Sequence[int], deadline: float | None) -> set[int]:
        """Move frames until one of the descriptors polls readable: those that do.

        Empty when the deadline (monotonic seconds; None: none) has passed.
        """
        # Python runs its signal handlers between two calls of the main thread.
        once = threading.get_ident() == self._main
        while not self._stopping:
            left = remaining(deadline)
            try:
                # Rounded up, or the last millisecond would be spent spinning.
                milliseconds = -1 if left is None else int(left * 1000) + 1
                return self._stack.wait(descriptors, milliseconds, once=once)
            except WouldBlock:
                if left == 0.0:
                    return set()
            except LocalSystemError:
                break  # no descriptor to receive with: the pump's thread does it
            except (StackError, WireFailed) as error:
                self._failed(error)
                break
        return wait_readable(descriptors, deadline)

    def attend(self) -> None:
        """Something is closing: have the pump's thread look after it now and then."""
        os.eventfd_write(self._attention, 1)

    def close(self) -> None:
        """End the pump's thread and wait for it. What still waits to be sent is sent first."""
        if self._stopping:
            return
        self._stopping = True
        try:
            self.flush()
        finally:
            self._undo.close()

    def _start(self, name: str, loop: Callable[[], None]) -> None:
        thread = threading.Thread(
            target=self._guarded, args=(loop,), name=f"netkat-{name}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            raise thread_error(error) from None
        self._threads.append(thread)

    def _join(self) -> None:
        self._stopping = True
        os.eventfd_write(self._stop, 1)
        for thread in self._threads:
            thread.join()
        self._end()

    def _begin(self) -> dict[str, Callable[[], None]]:
        self._stack.attach(self._wire.fileno(), self._incoming, self._outgoing, self._wire.tally)
        return {"pump": lambda: self._keep_house(self._stack.reside, ())}

    def _end(self) -> None:
        self._stack.detach()

    def _keep_house(
        self,
        wait: Callable[[Sequence[int], int], set[int]],
        others: Sequence[int],
    ) -> None:
        """Run a thread: check closing connections, and call _noticed() for other descriptors."""
        wants_housekeeping = (self._attention, self._stack.bridges_fd)
        descriptors = (self._stop, *wants_housekeeping, *others)
        timeout = -1
        next_look = 0.0
        while not self._stopping:
            try:
                ready = wait(descriptors, timeout)
            except WouldBlock:
                continue
            for descriptor in ready.intersection(wants_housekeeping):
                os.eventfd_read(descriptor)
                timeout = int(HOUSEKEEPING * 1000)
            self._noticed(ready)
            now = time.monotonic()
            if timeout >= 0 and now >= next_look:
                next_look = now + HOUSEKEEPING
                timeout = int(HOUSEKEEPING * 1000) if self._housekeeping() else -1

    def _noticed(self, ready: set[int]) -> None:
        """What a pump of another kind has to do besides."""

    def _guarded(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if self._stopping or (isinstance(error, StackError) and error.code is Code.DETACHED):
            return
        if isinstance(error, NetkatError):
            self._on_fault(error)
        elif isinstance(error, WireFailed):
            self._on_fault(self._wire.fault(error))
        else:
            # A pump that died in silence would leave every connection waiting for ever.
            _log.error("the pump stopped", exc_info=error)
            self._on_fault(NetkatError(f"the pump stopped: {error!r}", hint=REPORT))
