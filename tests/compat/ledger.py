"""Results of third-party test suites over netkat, and docs/compatibility.md made from them.

``python -m tests.compat.ledger`` writes the page. A ledger is a JSON file beside this one:
how many cases of each group pass, which fail and why, and which groups are left out and why.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "compatibility.md"
SUITES = ("test_socket", "httpcore", "urllib3")
"""Suites, in the order of the page."""

Outcomes = Mapping[str, Mapping[str, str]]
"""By group and case: "passes", or the failure."""

_HEAD = """\
# Compatibility

netkat's connections have the interface of the standard library's sockets. Third-party test
suites for sockets and HTTP clients run over netkat's connections, with each end in a network
namespace of its own. This page is generated from the expected results (`tests/compat/`). A test
fails when the result of a case differs.
"""


@dataclass(frozen=True)
class Group:
    """A class or a file of cases. ``fails`` has the reason's key for each case that does."""

    passes: int
    fails: dict[str, str]


@dataclass(frozen=True)
class Ledger:
    """One suite."""

    title: str
    about: str
    reasons: dict[str, str]
    left_out: dict[str, list[str]]
    run: dict[str, Group]

    def cases_left_out(self) -> list[str]:
        """Single ones, of files that are run."""
        return [name for names in self.left_out.values() for name in names if "::" in name]

    def differences(self, found: Outcomes) -> list[str]:
        """Describe each result that differs from the expected one."""
        told = []
        for name, outcomes in found.items():
            group = self.run[name]
            passed = {case for case, outcome in outcomes.items() if outcome == "passes"}
            for case, outcome in outcomes.items():
                if case in passed and case in group.fails:
                    told.append(f"{name}: {case} passes, but is expected to fail")
                elif case not in passed and case not in group.fails:
                    told.append(f"{name}: {case} fails:\n{outcome}")
            told += [f"{name}: there is no {case}" for case in group.fails if case not in outcomes]
            if len(passed) < group.passes:
                told.append(f"{name}: {len(passed)} cases pass, {group.passes} expected")
        return told


def load(name: str) -> Ledger:
    """The ledger of a suite."""
    read = json.loads((HERE / f"{name}.json").read_text())
    run = {group: Group(**counted) for group, counted in read.pop("run").items()}
    return Ledger(**read, run=run)


def page() -> str:
    """The text of docs/compatibility.md."""
    return "\n".join([_HEAD, *(section(load(name)) for name in SUITES)])


def section(ledger: Ledger) -> str:
    """One suite in Markdown."""
    passes = sum(group.passes for group in ledger.run.values())
    fails = sum(len(group.fails) for group in ledger.run.values())
    lines = [f"## {ledger.title}", "", ledger.about, ""]
    lines += [f"{passes} cases pass, {fails} cannot.", "", "| | pass | cannot |", "|---|---|---|"]
    lines += [
        f"| `{name}` | {group.passes} | {', '.join(f'`{case}`' for case in group.fails)} |"
        for name, group in ledger.run.items()
    ]
    why: dict[str, list[str]] = defaultdict(list)
    for group in ledger.run.values():
        for case, reason in group.fails.items():
            if case not in why[reason]:
                why[reason].append(case)
    for heading, by_reason in (
        ("Cases that cannot pass", why),
        ("Cases that are not run", ledger.left_out),
    ):
        if by_reason:
            lines += ["", f"### {heading}", ""]
            lines += [
                f"- {ledger.reasons[reason]}: {', '.join(f'`{name}`' for name in names)}."
                for reason, names in by_reason.items()
            ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
