"""The project's own files, read as text and syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

MADE = {"netkat/stack/_gostack.py", "netkat/wire/_libc.py"}


def files(*patterns: str) -> list[Path]:
    """Files written by hand that match, relative to the root."""
    found = {path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}
    relative = sorted(path.relative_to(ROOT) for path in found)
    return [path for path in relative if path.as_posix() not in MADE]


def text(path: Path) -> str:
    """Contents of a file named relative to the root."""
    return (ROOT / path).read_text()


@cache
def syntax(path: Path) -> ast.Module:
    """Syntax tree of a Python file."""
    return ast.parse(text(path), str(path))


@dataclass(frozen=True)
class Import:
    """One imported module, wherever in the file it stands."""

    path: Path
    line: int
    module: str
    for_types: bool  # under `if TYPE_CHECKING:`, so never executed
    names: tuple[str, ...] = ()  # of `from module import names`

    def __str__(self) -> str:
        return f"{self.path}:{self.line} imports {self.module}"


def imports(path: Path) -> Iterator[Import]:
    """Every import of a file, those inside functions too."""
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
            # `from netkat import wire` names the room in the second part.
            modules = [f"{base}.{a.name}" for a in node.names] if base == "netkat" else [base]
            names = () if base == "netkat" else tuple(alias.name for alias in node.names)
        else:
            continue
        for module in modules:
            yield Import(path, node.lineno, module, id(node) in typed, names)


def absolute(path: Path, node: ast.ImportFrom) -> str:
    """The module that an `import from` names, dots resolved."""
    if node.level == 0:
        return node.module or ""
    package = path.parent.parts
    kept = package[: len(package) - (node.level - 1)]
    return ".".join((*kept, *([node.module] if node.module else [])))
