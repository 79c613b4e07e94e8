"""``netkat clean``."""

from __future__ import annotations


def clean() -> int:
    """Remove what a killed netkat left on interfaces, and nothing else."""
    from netkat import _api

    for line in _api.clean():
        print(line)
    return 0
