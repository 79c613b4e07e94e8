"""The packet printer: one file and one table row for each protocol."""

from __future__ import annotations

import ast

from netkat.capture.text import dispatch
from tests.repo import tree


def test_dissectors_have_no_imports_within_functions() -> None:
    """Dissectors are loaded through the tables of dispatch.py, which alone ends their recursion."""
    wrong = [
        f"{path}:{node.lineno}"
        for path in tree.files("netkat/capture/text/*.py")
        for function in ast.walk(ast.parse(tree.text(path)))
        if isinstance(function, (ast.FunctionDef, ast.Lambda))
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    assert wrong == []


def test_dissector_tables_name_functions_that_exist() -> None:
    tables = (
        dispatch.BY_LINKTYPE, dispatch.BY_ETHERTYPE, dispatch.BY_IP_PROTOCOL,
        dispatch.BY_UDP_PORT, dispatch.BY_TCP_PORT,
    )  # fmt: skip
    assert all(callable(table[number]) for table in tables for number in table.rows)
