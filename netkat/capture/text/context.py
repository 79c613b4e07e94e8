"""What every dissector is given: the style of lines, addresses, and state kept between lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from netkat.capture.text.number_names import service

_CONVERSATIONS = 1 << 16
"""TCP conversations whose first sequence numbers are kept; the oldest is removed first."""

_DEPTH = 16
"""Most headers of tunnels and quoted packets that are followed in one packet."""


@dataclass(frozen=True, slots=True)
class Style:
    """How lines look. The defaults are those of ``tcpdump -t``."""

    stamp: int = 1
    """Number of -t options: 0 time of day, 1 none, 2 epoch seconds, 3 delta to the previous line,
    4 date and time, 5 delta to the first line."""
    nanoseconds: bool = False
    numeric: bool = False
    """Print port numbers (-n). Addresses are always numeric: netkat does no reverse look-ups."""
    verbose: int = 0
    quiet: bool = False
    link: bool = False
    """Print the link-layer header (-e)."""
    absolute: bool = False
    """Print absolute TCP sequence numbers (-S)."""
    checksums: bool = True
    """Verify the checksums that -v prints (off with -K)."""
    number: bool = False
    dump: str = ""
    """"x", "xx", "X", "XX" or "A": print the bytes under each line."""
    color: bool = False
    interface: bool = False
    """Print the interface name first, for captures on several interfaces."""


class Addresses(NamedTuple):
    """The two addresses of an IP header, for the transport header in it."""

    source: str
    target: str
    packed: bytes
    """Both addresses as they are in the header."""
    shown: bool = True
    """False if the addresses were printed already, before an extension header."""
    fragment: bool = False
    """Only a part of the payload is in this packet, so no checksum can be verified."""

    @property
    def prefix(self) -> str:
        """The text "source > target: ", or "" if the addresses were printed already."""
        return f"{self.source} > {self.target}: " if self.shown else ""


class Truncated(Exception):
    """The packet ends within a header; the argument is the protocol's name."""


class PrinterState:
    """The style, and what one packet's line needs from the packets before it."""

    def __init__(self, style: Style | None = None) -> None:
        self.style = style or Style()
        self.conversations: dict[bytes, tuple[int, int]] = {}
        self.directions: dict[bytes, tuple[str, int, int, bool]] = {}
        """Cache of common_segment.py, by addresses and ports."""
        self.interface = ""
        """Interface name of the current packet."""
        self.depth = 0

    def port(self, number: int, transport: str) -> str:
        """Return a port as the style prints it."""
        return str(number) if self.style.numeric else service(number, transport)

    def remember(self, key: bytes, first: tuple[int, int]) -> None:
        """Keep a TCP conversation's first sequence numbers."""
        conversations = self.conversations
        if len(conversations) >= _CONVERSATIONS:
            del conversations[next(iter(conversations))]
            self.directions.clear()
        conversations[key] = first

    def keep_direction(self, flow: bytes, direction: tuple[str, int, int, bool]) -> None:
        """Keep what the lines of one direction of a conversation have in common."""
        if len(self.directions) >= 2 * _CONVERSATIONS:
            self.directions.clear()
        self.directions[flow] = direction

    def enter(self) -> None:
        """Count one more nested header. Errors: Truncated if there are too many."""
        self.depth += 1
        if self.depth > _DEPTH:
            raise Truncated("too many headers")
