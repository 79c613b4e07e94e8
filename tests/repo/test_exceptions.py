"""docs/exceptions.md matches netkat/errors.py, and a test produces every error."""

from __future__ import annotations

import inspect
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from netkat import errors
from netkat.errors import NetkatError
from tests.repo import tree

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, NetkatError)
}
ROWS = {
    cells[0].strip("`"): cells
    for line in (tree.ROOT / "docs/exceptions.md").read_text().splitlines()
    if line.startswith("| `")
    for cells in [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]]
}
LEAVES = sorted(name for name, value in CLASSES.items() if not value.__subclasses__())


def fields(kind: type[NetkatError]) -> set[str]:
    """Return the keyword arguments of its constructor, except the hint."""
    named = inspect.signature(kind).parameters.values()
    return {each.name for each in named if each.kind is each.KEYWORD_ONLY} - {"hint"}


def documented(name: str) -> set[str]:
    cell = ROWS[name][2]
    inherited = re.fullmatch(r"as `(\w+)`", cell)
    return documented(inherited[1]) if inherited else set(re.findall(r"`(\w+)`", cell))


def test_exceptions_page_has_every_class() -> None:
    assert set(ROWS) == set(CLASSES) - {"NetkatError"}


@pytest.mark.parametrize("name", ROWS)
def test_exceptions_row_matches_class(name: str) -> None:
    kind = CLASSES[name]
    assert documented(name) == fields(kind)
    assert ROWS[name][3] == str(kind.exit_code)
    assert all(ROWS[name][column] for column in (1, 4))


@pytest.mark.parametrize("name", sorted(set(CLASSES) - {"NetkatError"}))
def test_error_has_fields_and_hint(name: str) -> None:
    kind: Any = CLASSES[name]
    error = kind("what happened")
    assert (str(error), error.message) == ("what happened", "what happened")
    assert error.hint
    assert kind("what happened", hint="do this").hint == "do this"
    assert len(inspect.getdoc(kind) or "") > 30
    for field in fields(kind):
        assert hasattr(error, field)
    assert errors.Refused("no", sender=ip_address("10.0.0.1")).sender == ip_address("10.0.0.1")


def test_hierarchy_in_docstring_matches_classes() -> None:
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"^(?:    )([│ ]*)(?:[├└]── )?(\w+(?:Error)?)\b", line):
            depth = len(found[1]) // 4 + ("── " in line)
            if found[2] not in CLASSES:
                continue
            path[depth:] = [found[2]]
            drawn[found[2]] = path[depth - 1] if depth else "OSError"
    assert set(drawn) == set(CLASSES)
    for name, parent in drawn.items():
        if name != "NetkatError":
            assert CLASSES[name].__bases__[0].__name__ == parent, name


@pytest.mark.parametrize("name", LEAVES)
def test_every_error_is_produced_by_a_test(name: str) -> None:
    tests = [
        path for path in Path(tree.ROOT / "tests").rglob("test_*.py") if "repo" not in str(path)
    ]
    assert any(re.search(rf"\b{name}\b", path.read_text()) for path in tests)
