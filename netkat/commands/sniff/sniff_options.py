"""What one run of ``netkat sniff`` is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field

from netkat.capture.capture_options import Watch
from netkat.capture.capture_writer import Rotation
from netkat.capture.text.style import Style


@dataclass(frozen=True, slots=True)
class SniffRequest:
    """Every option, read and checked."""

    watch: Watch = field(default_factory=Watch)
    style: Style = field(default_factory=Style)
    read: str | None = None
    """A capture file instead of interfaces."""
    write: str | None = None
    rotation: Rotation = field(default_factory=Rotation)
    nanosecond_file: bool = False
    show: bool = True
    """Print lines (not with -w, unless --print)."""
    json: bool = False
    stats: bool = False
    only_count: bool = False
    count: int = 0
    """End after so many packets; 0 never."""
    drops: bool = False
    netns: str | int | None = None
    user: str | None = None
    """Become this user once the sockets are open."""
    quiet_counts: bool = False
