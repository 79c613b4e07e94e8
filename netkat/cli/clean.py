"""``netkat clean``."""

from __future__ import annotations


def clean() -> int:
    """Remove what a killed netkat left on interfaces, and nothing else."""
    from netkat.bpf.guard.leftovers import remove

    for leftover in remove():
        print(leftover)
    return 0
