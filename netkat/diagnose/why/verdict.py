"""From evidence to findings: one pure function, for the sender and the receiver."""

from __future__ import annotations

from netkat.diagnose.why import lookup_verdict, receiver_verdict, sender_verdict
from netkat.diagnose.why.evidence import Evidence
from netkat.diagnose.why.finding import Finding


def conclude(evidence: Evidence) -> tuple[Finding, ...]:
    """The findings; the first is the verdict. Never empty."""
    if evidence.read_only:
        return lookup_verdict.conclude(evidence)
    if evidence.incoming:
        return receiver_verdict.conclude(evidence)
    return sender_verdict.conclude(evidence)
