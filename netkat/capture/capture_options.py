"""What to watch, and how."""

from __future__ import annotations

from dataclasses import dataclass

from netkat.bpf.filters.pcap_filter import MAX_SNAPLEN
from netkat.wire.ring import BLOCK

DEFAULT_BUFFER = 32 * BLOCK
ANY_NAME = "any"
HOLD_MS = 40
"""A block that is handed over early is a block less: on a quiet link a ring holds as many
packets as it has blocks, and this many milliseconds times that is how long a reader
may be busy elsewhere before packets are lost."""


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """What to watch and how; the defaults are tcpdump's."""

    interfaces: tuple[str, ...] = (ANY_NAME,)
    filter_text: str = ""
    direction: str = "inout"
    promiscuous: bool = True
    snaplen: int = MAX_SNAPLEN
    buffer: int = DEFAULT_BUFFER
    """Bytes of ring an interface."""
    hold_ms: int = HOLD_MS
    """Milliseconds that a packet may wait in the ring for company."""
    optimize: bool = True
    linktype: int | None = None
    """Only LINUX_SLL2 can be asked for where another is usual."""
