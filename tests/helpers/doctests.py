"""Runs the examples of netkat's docstrings where it is started, in the caller's folder.

python -m tests.helpers.doctests    # a line of JSON for each docstring that has examples
"""

from __future__ import annotations

import ast
import doctest
import json
import sys
from collections.abc import Iterator

import netkat
from tests.helpers.netns import ROOT

DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def docstrings() -> Iterator[tuple[str, int, str]]:
    """File, line and text of each; extras that this Python cannot have are left out."""
    for path in sorted(ROOT.glob("netkat/**/*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name == "netkat/httpx2.py" and sys.version_info < (3, 11):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
                yield name, node.lineno if hasattr(node, "lineno") else 1, text


def main() -> None:
    """All examples that this Python can run."""
    for name, line, text in docstrings():
        test = doctest.DocTestParser().get_doctest(
            text, {"netkat": netkat}, f"{name}:{line}", name, line
        )
        if test.examples:
            said: list[str] = []
            result = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
            told = {"name": test.name, "failed": result.failed, "said": "".join(said)}
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
