"""How lines look: tcpdump's letters as one value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Style:
    """The defaults are ``tcpdump -t``."""

    stamp: int = 1
    """How often -t was given: 0 a time of day, 1 none, 2 seconds since the epoch,
    3 since the line before, 4 date and time, 5 since the first line."""
    nanoseconds: bool = False
    numeric: bool = False
    """Ports as numbers (-n). Addresses always are: no name is ever asked for."""
    verbose: int = 0
    quiet: bool = False
    link: bool = False
    """The link header on each line (-e)."""
    absolute: bool = False
    """TCP sequence numbers as they are on the wire (-S)."""
    checksums: bool = True
    """Verify them where -v shows them; not with -K."""
    number: bool = False
    dump: str = ""
    """"x", "xx", "X", "XX" or "A" under each line."""
    color: bool = False
    interface: bool = False
    """The interface's name in front: several are watched at once."""
