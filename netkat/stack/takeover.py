"""What a connection that takes over a flow asks first, and learns: gostack.h's gs_takeover."""

from __future__ import annotations

from netkat.stack.ffi import CData, load

ASKED, NO_CENSUS = -1, -2
"""In place of a descriptor of the count."""


class Takeover:
    """Of one flow, for one connection on it after the other."""

    __slots__ = ("raw",)

    def __init__(self, key: bytes, *, guard: int, news: int, census: int, max_segment: int) -> None:
        """``key`` is the flow's in the map of the guard, of which ``guard`` is the descriptor.

        ``news`` is one that polls readable once the way to the peer may be another, and
        ``census`` one of conntrack's count of entries; -1: conntrack has to be asked each time.
        ``max_segment`` is in bytes of payload; 0: as the stack has it.
        """
        self.raw: CData = load().ffi.new("gs_takeover *")
        self.raw.flow = key
        self.raw.news = news
        self.raw.guard, self.raw.max_segment = guard, max_segment
        self.raw.census = census if census >= 0 else NO_CENSUS
