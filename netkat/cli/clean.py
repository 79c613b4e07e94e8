"""``netkat clean``."""

from __future__ import annotations


def clean() -> int:
    """Remove tc filters left behind by a killed netkat."""
    from netkat.bpf.guard.leftovers import remove

    for leftover in remove():
        print(leftover)
    return 0
