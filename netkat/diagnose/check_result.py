"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckResult:
    """``detail`` is what ``check`` found, ``fix`` what to do if it is not ``ok``.

    ``required``: connect cannot work unless it is ok. Otherwise it works with less: another guard
    mode, less speed. ``subject``: the interface that was checked, if one was.
    """

    check: str
    ok: bool
    detail: str
    fix: str | None = None
    required: bool = False
    subject: str | None = None

    @property
    def blocks(self) -> bool:
        """True if connect cannot work."""
        return self.required and not self.ok

    @property
    def title(self) -> str:
        """``interface eth0``: the check and its subject as text."""
        return " ".join([self.check.replace("_", " "), *filter(None, [self.subject])])
