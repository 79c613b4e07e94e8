"""Packets of several sources in one order of time."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable

from netkat.capture.packet import Packet


class ReorderBuffer:
    """Holds packets back until nothing older can come: one ring hands over later than another,
    and a drop is told of at once.

    ``slack`` is how many seconds late the latest may be.
    """

    def __init__(self, slack: float) -> None:
        self.slack = slack
        self._heap: list[tuple[int, int, Packet]] = []
        self._order = itertools.count()

    def add(self, packets: Iterable[Packet]) -> None:
        """Take packets, in any order."""
        for packet in packets:
            heapq.heappush(self._heap, (packet.time_ns, next(self._order), packet))

    def ready(self, asked_at: int) -> list[Packet]:
        """Those that may go on, by time. ``asked_at`` (ns) is from before the sources were read."""
        limit = asked_at - int(self.slack * 1e9)
        found = []
        while self._heap and self._heap[0][0] <= limit:
            found.append(heapq.heappop(self._heap)[2])
        return found

    def flush(self) -> list[Packet]:
        """All that is left: nothing more comes."""
        found = [packet for _, _, packet in sorted(self._heap)]
        self._heap.clear()
        return found

    def __bool__(self) -> bool:
        return bool(self._heap)
