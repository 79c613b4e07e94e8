"""Options of a capture."""

from __future__ import annotations

from dataclasses import dataclass

from netkat.bpf.filters.pcap_filter import MAX_SNAPLEN
from netkat.wire.ring import BLOCK

DEFAULT_BUFFER = 32 * BLOCK
ANY_NAME = "any"
HOLD_MS = 40
"""Milliseconds until the kernel releases a ring block that is not full. On a quiet link each block
holds few packets, so a short time makes the ring overflow when the reader is delayed."""


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """Interfaces, filter and buffers of a capture. The defaults are tcpdump's."""

    interfaces: tuple[str, ...] = (ANY_NAME,)
    filter_text: str = ""
    direction: str = "inout"
    promiscuous: bool = True
    snaplen: int = MAX_SNAPLEN
    buffer: int = DEFAULT_BUFFER
    """Ring size of each interface in bytes."""
    hold_ms: int = HOLD_MS
    """Longest time in milliseconds that a packet stays in a ring block that is not full."""
    optimize: bool = True
    linktype: int | None = None
    """LINUX_SLL2 to capture without link headers, or None for the interface's own type."""
