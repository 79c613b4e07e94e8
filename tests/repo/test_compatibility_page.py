"""docs/compatibility.md matches the expected results of tests/compat."""

from __future__ import annotations

import pytest

from tests.compat import ledger


def test_compatibility_page_matches_ledgers() -> None:
    assert ledger.PAGE.read_text() == ledger.page(), "python -m tests.compat.ledger writes it"


@pytest.mark.parametrize("name", ledger.SUITES)
def test_ledger_reasons_are_defined_and_used(name: str) -> None:
    told = ledger.load(name)
    used = {reason for group in told.run.values() for reason in group.fails.values()}
    assert used | set(told.left_out) == set(told.reasons)


def test_differences_are_described() -> None:
    group = ledger.Group(passes=1, fails={"b": "why", "gone": "why"})
    told = ledger.Ledger("", "", {"why": ""}, {}, {"A": group})
    assert told.differences({"A": {"a": "passes", "b": "no", "gone": "no"}}) == []
    assert told.differences({"A": {"a": "broken", "b": "passes"}}) == [
        "A: a fails:\nbroken",
        "A: b passes, but is expected to fail",
        "A: there is no gone",
    ]
