"""The hints of error messages: what follows "next:"."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.repo import tree

VERBS = frozenset(
    """
    add allow attach bind build call change check choose claim close combine connect create
    decompress delete disable enable end free give increase install keep let limit list load
    lower mount move name omit open paste pass pick probe put raise read remove renew repeat
    report rerun reset restart run save see select send set shorten show start stop test
    try turn unset update upgrade use verify wait write
    """.split()  # noqa: SIM905  one string is shorter to read
)
"""The first words that a hint may have: imperatives. A command to paste follows a verb."""


def hints(path: Path) -> Iterator[tuple[int, str]]:
    """Return (line, beginning) of each literal that a module uses as a hint."""
    for node in ast.walk(tree.syntax(path)):
        if (
            (isinstance(node, ast.keyword) and node.arg == "hint")
            or (isinstance(node, ast.Assign) and any(_is_hint(each) for each in node.targets))
            or (isinstance(node, ast.AnnAssign) and _is_hint(node.target))
        ):
            yield from _beginnings(node.value)


def starts_with_verb(beginning: str) -> bool:
    """Return whether the first word is one of VERBS."""
    return beginning.split(" ")[0].rstrip(":,;") in VERBS


def _is_hint(target: ast.expr) -> bool:
    name = ast.unparse(target).rpartition(".")[2].lower()
    return name in ("hint", "hints") or name.endswith(("_hint", "_hints"))


def _beginnings(value: ast.expr | None) -> Iterator[tuple[int, str]]:
    if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value.strip():
        yield value.lineno, value.value
    elif isinstance(value, ast.JoinedStr) and value.values:
        yield from _beginnings(value.values[0])
    elif isinstance(value, ast.BinOp):
        yield from _beginnings(value.left)
    elif isinstance(value, ast.IfExp):
        yield from _beginnings(value.body)
        yield from _beginnings(value.orelse)
    elif isinstance(value, ast.BoolOp):
        for each in value.values:
            yield from _beginnings(each)
    elif isinstance(value, ast.Dict):
        for entry in value.values:
            yield from _beginnings(entry)
