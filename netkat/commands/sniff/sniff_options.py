"""The options of one run of ``netkat sniff``, parsed and checked."""

from __future__ import annotations

from dataclasses import dataclass, field

from netkat.capture.capture_options import CaptureOptions
from netkat.capture.capture_writer import Rotation
from netkat.capture.text.context import Style


@dataclass(frozen=True, slots=True)
class SniffOptions:
    """Every option of the command line."""

    capture: CaptureOptions = field(default_factory=CaptureOptions)
    style: Style = field(default_factory=Style)
    read: str | None = None
    """Capture file to read instead of interfaces."""
    write: str | None = None
    rotation: Rotation = field(default_factory=Rotation)
    nanosecond_file: bool = False
    show: bool = True
    """Print lines (off with -w, unless --print is given)."""
    json: bool = False
    stats: bool = False
    only_count: bool = False
    count: int = 0
    """Exit after this many packets; 0: no limit."""
    drops: bool = False
    netns: str | int | None = None
    user: str | None = None
    """Switch to this user once the sockets are open."""
