"""Merge packets of several sources in the order of time."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable

from netkat.capture.packet import Packet


class ReorderBuffer:
    """Holds packets until no older one can arrive: rings release blocks late, drop events arrive at
    once.

    ``slack`` is the longest delay of a source in seconds.
    """

    def __init__(self, slack: float) -> None:
        self.slack = slack
        self._heap: list[tuple[int, int, Packet]] = []
        self._order = itertools.count()

    def add(self, packets: Iterable[Packet]) -> None:
        """Add packets in any order."""
        for packet in packets:
            heapq.heappush(self._heap, (packet.time_ns, next(self._order), packet))

    def ready(self, asked_at: int) -> list[Packet]:
        """Return the packets that are in order now. ``asked_at`` (ns) is when reading began."""
        limit = asked_at - int(self.slack * 1e9)
        found = []
        while self._heap and self._heap[0][0] <= limit:
            found.append(heapq.heappop(self._heap)[2])
        return found

    def flush(self) -> list[Packet]:
        """Return all remaining packets, by time."""
        found = [packet for _, _, packet in sorted(self._heap)]
        self._heap.clear()
        return found

    def __bool__(self) -> bool:
        return bool(self._heap)
