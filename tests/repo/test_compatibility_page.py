"""docs/compatibility.md is the ledgers of tests/compat, and they are sound."""

from __future__ import annotations

import pytest

from tests.compat import ledger


def test_the_page_is_made_of_the_ledgers() -> None:
    assert ledger.PAGE.read_text() == ledger.page(), "python -m tests.compat.ledger writes it"


@pytest.mark.parametrize("name", ledger.SUITES)
def test_every_reason_is_given_and_used(name: str) -> None:
    told = ledger.load(name)
    used = {reason for group in told.run.values() for reason in group.fails.values()}
    assert used | set(told.left_out) == set(told.reasons)


def test_differences_are_told() -> None:
    group = ledger.Group(passes=1, fails={"b": "why", "gone": "why"})
    told = ledger.Ledger("", "", {"why": ""}, {}, {"A": group})
    assert told.differences({"A": {"a": "passes", "b": "no", "gone": "no"}}) == []
    assert told.differences({"A": {"a": "broken", "b": "passes"}}) == [
        "A: a fails:\nbroken",
        "A: b passes, but is expected to fail",
        "A: there is no gone",
    ]
