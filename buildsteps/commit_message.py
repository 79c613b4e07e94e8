"""The rules for commit subjects, for a commit-msg hook: build.py commit-message -- FILE."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

LONGEST = 72
FORM = re.compile(r"[\w./-]+(, [\w./-]+)*: \S")
UNCHECKED = ("Merge ", "Revert ", "fixup! ", "squash! ")
"""Subjects that git writes."""


def problems(message: str) -> Iterator[str]:
    """Return what is wrong with a commit message, a line for each problem."""
    lines = [line for line in message.splitlines() if not line.startswith("#")]
    subject = lines[0] if lines else ""
    if subject.startswith(UNCHECKED):
        return
    if not FORM.match(subject):
        yield "the subject is not of the form `area: imperative verb + object`"
    if len(subject) > LONGEST:
        yield f"the subject has {len(subject)} characters: {LONGEST} at most"
    if ";" in subject:
        yield "the subject contains `;`: make one commit for each idea"
    if len(lines) > 1 and lines[1].strip():
        yield "the second line is not empty"


def check(path: Path) -> int:
    """Print the problems of the message in a file. Return 1 if there are any."""
    found = list(problems(path.read_text()))
    for problem in found:
        print(f"commit message: {problem}")
    return 1 if found else 0
