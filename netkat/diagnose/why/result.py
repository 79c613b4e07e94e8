"""What ``netkat.why`` returns, as text and as JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from netkat.diagnose.why.evidence import Evidence
from netkat.diagnose.why.finding import Finding

VERSION = 1
"""Of docs/json/why.schema.json."""


@dataclass(frozen=True, slots=True)
class WhyResult:
    """What a host does to a connection: ``findings``, the verdict first, and their ``evidence``.

    ``str(result)`` is the report that the command prints. ``verdict`` is a stable token, such as
    ``"captured_nat"``; docs/why.md explains each. ``exit_status`` is 0 where the connection works,
    1 for a finding, 3 where nothing could be decided.
    """

    findings: tuple[Finding, ...]
    evidence: Evidence

    @property
    def verdict(self) -> str:
        """The verdict's token."""
        return self.findings[0].verdict.value

    @property
    def text(self) -> str:
        """The verdict in one line."""
        return self.findings[0].text

    @property
    def rules(self) -> tuple[str, ...]:
        """What is responsible, one line each."""
        return self.findings[0].rules

    @property
    def next(self) -> str:
        """What to do next; "" where nothing is to be done."""
        return self.findings[0].next

    @property
    def exit_status(self) -> int:
        """0, 1 or 3, as the command's."""
        return self.findings[0].exit_status

    def as_dict(self) -> dict[str, Any]:
        """The object of ``netkat why --json``."""
        evidence = dataclasses.asdict(self.evidence)
        return {
            "version": VERSION,
            "command": "why",
            "verdict": self.verdict,
            "text": self.text,
            "rules": list(self.rules),
            "next": self.next or None,
            "exit_status": self.exit_status,
            "also": [_also(finding) for finding in self.findings[1:]],
            "unchecked": list(evidence.pop("unchecked")),
            "evidence": evidence,
        }

    def __str__(self) -> str:
        from netkat.diagnose.why.report import report

        return "\n".join(report(self))


def _also(finding: Finding) -> dict[str, Any]:
    return {
        "verdict": finding.verdict.value,
        "text": finding.text,
        "rules": list(finding.rules),
        "next": finding.next or None,
    }
