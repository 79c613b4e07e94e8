"""``netkat sniff -D``."""

from __future__ import annotations

from netkat.capture.capture_options import ANY_NAME
from netkat.capture.interface_list import watchable


def list_all(netns: str | int | None) -> int:
    """Print every interface with its number for -i."""
    for number, one in enumerate(watchable(netns), 1):
        words = ["Up" if one.up else "Down"]
        if one.loopback:
            words.append("Loopback")
        about = " (all interfaces at once)" if one.name == ANY_NAME else ""
        print(f"{number}.{one.name}{about} [{', '.join(words)}]")
    return 0
