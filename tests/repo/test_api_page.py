"""docs/api.md is generated from the docstrings and has the whole public API."""

from __future__ import annotations

import ast
import re

import pytest

import netkat
from buildsteps import api_page
from tests.repo import tree

ENTRIES = [entry for entries in api_page.SECTIONS.values() for entry in entries]
NO_ENTRY = {"NetkatError", "errors", "__version__"}
"""Documented in docs/exceptions.md, or nowhere."""


def test_api_page_matches_docstrings() -> None:
    assert api_page.PAGE.read_text() == api_page.page(), "stale: run `python3 build.py api`"


def test_api_page_has_every_export_of_netkat() -> None:
    assert set(netkat.__all__) - NO_ENTRY <= {
        entry.shown.removeprefix("netkat.") for entry in ENTRIES
    }


@pytest.mark.parametrize("module", ["httpx", "requests"])
def test_api_page_has_every_export_of_http_modules(module: str) -> None:
    body = tree.syntax(tree.files(f"netkat/{module}.py")[0]).body
    exported = next(
        ast.literal_eval(node.value)
        for node in body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    assert set(exported) <= {entry.name for entry in ENTRIES}


def test_api_page_headings_are_unique_and_links_resolve() -> None:
    page = api_page.page()
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page, flags=re.DOTALL), re.M)
    assert len(headings) == len(set(headings))
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for link in re.findall(r"\]\((.*?)\)", page):
        target = (tree.ROOT / "docs" / link).exists() if link[0] != "#" else link[1:] in anchors
        assert target, link


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("One ``word``.", "One `word`.\n"),
        ("See :class:`netkat.Stack`.", "See `netkat.Stack`.\n"),
        (
            "Do. ::\n\n    a()\n\n\n    b()\n\nMore.",
            "Do.\n\n```python\na()\n\n\nb()\n```\n\nMore.\n",
        ),
        ("So::\n\n    a()\n", "So:\n\n```python\na()\n```\n"),
        ("::\n\n    a()\n", "```python\na()\n```\n"),
        (">>> a()\n1\n\nMore.", "```pycon\n>>> a()\n1\n```\n\nMore.\n"),
        ("So.\n\n>>> a()\n1", "So.\n\n```pycon\n>>> a()\n1\n```\n"),
    ],
)
def test_markdown_of_docstring(docstring: str, expected: str) -> None:
    assert api_page.markdown(docstring) == expected
