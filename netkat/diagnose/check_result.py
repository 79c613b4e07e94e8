"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """``what`` was found by the check ``about``, and the ``remedy`` where it is not ``ok``.

    ``needed``: connect cannot work while it is not ok. Otherwise it goes on with
    less: another guard mode, less speed, no build.
    """

    about: str
    ok: bool
    what: str
    remedy: str | None = None
    needed: bool = False

    @property
    def blocks(self) -> bool:
        """Connect cannot work."""
        return self.needed and not self.ok
