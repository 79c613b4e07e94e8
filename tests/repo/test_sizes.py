"""Limits for files and functions, and names that carry no meaning."""

from __future__ import annotations

import ast
import re

from tests.repo import tree

FILE_LINES = 400
IN_ONE_FILE = {"netkat/errors.py": 700}
"""All errors are in one file, so that they can be read together."""
FUNCTION_LINES = 80
NAMED_BY_OTHERS = {"init_poolmanager", "proxy_manager_for"}
"""Methods that a library calls by this name."""
EMPTY_NAMES = re.compile(r"manager|impl(?![a-z])|^utils?$|^common$|_utils?$|_common$|helper", re.I)

PYTHON = tree.files("netkat/**/*.py", "tests/**/*.py", "build.py", "buildsteps/*.py")
GO = tree.files("gostack/**/*.go", "gostack/**/*.c", "gostack/**/*.h")
C = tree.files("netkat/**/*.c", "netkat/**/*.h")


def test_files_are_short() -> None:
    lengths = {str(path): len(tree.text(path).splitlines()) for path in [*PYTHON, *GO, *C]}
    long = {p: n for p, n in lengths.items() if n >= IN_ONE_FILE.get(p, FILE_LINES)}
    assert long == {}


def test_python_functions_are_short() -> None:
    long = {
        f"{path}:{node.lineno} {node.name}": lines
        for path in PYTHON
        for node in ast.walk(tree.syntax(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) >= FUNCTION_LINES
    }
    assert long == {}


def test_go_functions_are_short() -> None:
    # gofmt puts a function's closing brace, and only such braces, at the line's start.
    body = re.compile(r"^func [^\n]*\{\n.*?^\}", re.MULTILINE | re.DOTALL)
    long = {
        f"{path}: {found.split(chr(10))[0]}": lines
        for path in GO
        for found in body.findall(tree.text(path))
        if (lines := found.count("\n") + 1) >= FUNCTION_LINES
    }
    assert long == {}


def test_names_carry_meaning() -> None:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    in_go = re.compile(r"^(?:func(?: \([^)]*\))?|type|package) (\w+)", re.MULTILINE)
    names = {
        (path, name)
        for path in PYTHON
        if path.parts[0] != "tests"  # tests/helpers is called so
        for node in ast.walk(tree.syntax(path))
        for name in (*path.with_suffix("").parts, getattr(node, "name", ""))
        if isinstance(node, kinds)
    }
    names |= {
        (path, name)
        for path in GO
        for name in (*path.with_suffix("").parts, *in_go.findall(tree.text(path)))
    }
    empty = {(str(path), name) for path, name in names if EMPTY_NAMES.search(name)}
    assert {(path, name) for path, name in empty if name not in NAMED_BY_OTHERS} == set()
