"""The project's files as text and syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

MADE = {"netkat/stack/_gostack.py", "netkat/wire/_libc.py"}


def files(*patterns: str) -> list[Path]:
    """Return matching files that are not generated, relative to the root."""
    found = {path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}
    relative = sorted(path.relative_to(ROOT) for path in found)
    return [path for path in relative if path.as_posix() not in MADE]


def text(path: Path) -> str:
    """Return the text of a file."""
    return (ROOT / path).read_text()


@cache
def syntax(path: Path) -> ast.Module:
    """Return the syntax tree of a Python file."""
    return ast.parse(text(path), str(path))


@dataclass(frozen=True)
class Import:
    """One import, anywhere in a file."""

    path: Path
    line: int
    module: str
    for_types: bool  # under `if TYPE_CHECKING:`, so never executed
    names: tuple[str, ...] = ()  # of `from module import names`

    def __str__(self) -> str:
        return f"{self.path}:{self.line} imports {self.module}"


def imports(path: Path) -> Iterator[Import]:
    """Return every import of a file, those in functions included."""
    tree = syntax(path)
    typed = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for part in node.body
        for inner in ast.walk(part)
    }
    for node in ast.walk(tree):
        names: tuple[str, ...] = ()
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = absolute(path, node)
            # `from netkat import wire` names the package in the second part.
            modules = [f"{base}.{a.name}" for a in node.names] if base == "netkat" else [base]
            names = () if base == "netkat" else tuple(alias.name for alias in node.names)
        else:
            continue
        for module in modules:
            yield Import(path, node.lineno, module, id(node) in typed, names)


def absolute(path: Path, node: ast.ImportFrom) -> str:
    """Return the module of an `import from`, with dots resolved."""
    if node.level == 0:
        return node.module or ""
    package = path.parent.parts
    kept = package[: len(package) - (node.level - 1)]
    return ".".join((*kept, *([node.module] if node.module else [])))
