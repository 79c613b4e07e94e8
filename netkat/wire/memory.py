"""Two wires connected in memory: a network without root, with configurable loss and delay."""

from __future__ import annotations

import heapq
import os
import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netkat.errors import InterfaceDown
from netkat.wire.batch import VNET_LENGTH
from netkat.wire.libc import ffi, libc
from netkat.wire.wire import WireStatistics

if TYPE_CHECKING:
    from netkat.wire.batch import ReceiveBatch, SendBatch

ETHERNET_LENGTH = 14
QUEUE = 1 << 14
"""Frames that wait at a receiver before new ones are dropped, as in a card's ring."""
HELD_BACK = 0.002
"""Seconds that a reordered frame comes later than it should."""

_TFD_TIMER_ABSTIME = 1


@dataclass(frozen=True, slots=True)
class Impairment:
    """What a wire does to the frames that are sent on it. Shares are between 0 and 1."""

    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    delay: float = 0.0
    """Seconds, one way."""
    seed: int = 1


PERFECT = Impairment()


def memory_pair(
    mtu: int = 1500, impairment: Impairment = PERFECT, *, ethernet: bool = True
) -> tuple[MemoryWire, MemoryWire]:
    """Return two ends of one wire; ``mtu`` is the IP MTU in bytes. Both directions are impaired."""
    longest = mtu + (ETHERNET_LENGTH if ethernet else 0)
    one, other = MemoryWire(longest, impairment), MemoryWire(longest, impairment)
    one._peer, other._peer = other, one
    return one, other


class MemoryWire:
    """One end. Implements Wire; take() and put() are for a peer that makes its own frames.

    A frame longer than the wire allows is dropped and counted, unless its
    virtio-net header asks for segmentation: such GSO packets pass whole, as
    they do on a veth pair.
    """

    def __init__(self, longest: int, impairment: Impairment) -> None:
        self._longest = longest
        self._peer: MemoryWire | None = None
        self._lock = threading.Lock()
        # Frames on their way to this end: when they arrive, a tie-breaker, the bytes.
        self._waiting: list[tuple[float, int, bytes]] = []
        self._order = 0
        self._received = self._dropped = self._sent = 0
        self._closed = False
        self.impair(impairment)
        self._timer = _timer()

    def impair(self, impairment: Impairment) -> None:
        """Change what happens to the frames that are sent from this end."""
        self._impairment = impairment
        self._random = random.Random(impairment.seed)

    def fileno(self) -> int:
        """Polls readable while a frame waits whose time has come."""
        return self._timer

    def receive(self, batch: ReceiveBatch) -> int:
        """As Wire.receive."""
        frames = self._arrived(batch.capacity)
        for i, whole in enumerate(frames):
            batch.put(i, whole)
        return len(frames)

    def send(self, batch: SendBatch, count: int) -> None:
        """As Wire.send; it never waits."""
        for i in range(count):
            self.put(batch.whole(i))

    def put(self, whole: bytes) -> None:
        """Send one frame with its virtio-net header."""
        self._sent += 1
        bad, chance = self._impairment, self._random.random
        if len(whole) - VNET_LENGTH > self._longest and not whole[1]:  # gso_type
            self._dropped += 1
            return
        peer = self._peer
        if peer is None or chance() < bad.loss:
            return
        for _ in range(2 if chance() < bad.duplication else 1):
            late = HELD_BACK if chance() < bad.reordering else 0.0
            peer._arrive(time.monotonic() + bad.delay + late, whole)

    def take(self) -> bytes | None:
        """The next frame that has arrived, with its virtio-net header."""
        return next(iter(self._arrived(1)), None)

    def statistics(self) -> WireStatistics:
        """As Wire.statistics."""
        return WireStatistics(self._received, self._dropped, self._sent)

    def close(self) -> None:
        """Close this end; what is sent to it from now on is lost."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._waiting.clear()
                os.close(self._timer)

    def _arrive(self, due: float, whole: bytes) -> None:
        with self._lock:
            if self._closed:
                return
            if len(self._waiting) >= QUEUE:
                self._dropped += 1
                return
            self._order += 1
            heapq.heappush(self._waiting, (due, self._order, whole))
            if self._waiting[0][1] == self._order:
                self._set_timer()

    def _arrived(self, most: int) -> list[bytes]:
        found: list[bytes] = []
        with self._lock:
            if self._closed:
                raise InterfaceDown("the in-memory wire is closed")
            waiting, now = self._waiting, time.monotonic()
            while len(found) < most and waiting and waiting[0][0] <= now:
                found.append(heapq.heappop(waiting)[2])
            self._received += len(found)
            # A timer that has expired polls readable until it is set anew.
            self._set_timer()
        return found

    def _set_timer(self) -> None:
        setting = ffi.new("struct itimerspec *")  # zero: disarmed
        if self._waiting:
            due = max(1, int(self._waiting[0][0] * 1e9))
            setting.it_value.tv_sec, setting.it_value.tv_nsec = divmod(due, 1_000_000_000)
        libc.timerfd_settime(self._timer, _TFD_TIMER_ABSTIME, setting, ffi.NULL)


def _timer() -> int:
    fd = libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_CLOEXEC | os.O_NONBLOCK)
    if fd < 0:
        raise OSError(ffi.errno, os.strerror(ffi.errno))
    return fd
