"""The rules for commit subjects."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildsteps import commit_message

GOOD = "conn, link: remove unused forwarding"


@pytest.mark.parametrize(
    "message",
    [
        GOOD,
        f"{GOOD}\n\nWhy.\n# Please enter the commit message\n",
        "a: " + "b" * (commit_message.LONGEST - 3),
        "Merge branch 'x'",
        'Revert "docs: a; b"',
        "fixup! x",
    ],
)
def test_message_of_the_form_passes(message: str) -> None:
    assert list(commit_message.problems(message)) == []


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("a: " + "b" * (commit_message.LONGEST - 2), "72 at most"),
        ("conn: remove a; link: remove b", "one commit for each idea"),
        ("Remove a", "area: imperative"),
        ("", "area: imperative"),
        ("conn: remove a\nand b", "second line"),
    ],
)
def test_message_with_one_fault_has_one_problem(message: str, problem: str) -> None:
    (found,) = commit_message.problems(message)
    assert problem in found


def test_check_returns_1_and_prints_problems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "COMMIT_EDITMSG"
    path.write_text("a; b\n")
    assert commit_message.check(path) == 1
    assert "commit message: the subject contains" in capsys.readouterr().out
    path.write_text(GOOD)
    assert commit_message.check(path) == 0
