"""``netkat sniff -D``."""

from __future__ import annotations

from netkat.capture.interfaces import watchable
from netkat.capture.watch import ANY_NAME


def list_all(netns: str | int | None) -> int:
    """Print every interface with its number for -i."""
    for number, one in enumerate(watchable(netns), 1):
        words = ["Up" if one.up else "Down"]
        if one.loopback:
            words.append("Loopback")
        about = " (all interfaces at once)" if one.name == ANY_NAME else ""
        print(f"{number}.{one.name}{about} [{', '.join(words)}]")
    return 0
