"""The public API: documented, fast to import, usable without the library."""

from __future__ import annotations

import ast
import inspect
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import netkat
from tests.repo import tree

HEAVY = ("pyroute2", "cffi", "_cffi_backend", "typer", "asyncio", "netkat.stack", "netkat.bpf")


def python(code: str, *options: str, **kwargs: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter, as in another program."""
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        cwd=tree.ROOT,
        env={**os.environ, **kwargs},
        capture_output=True,
        text=True,
        timeout=60,
    )


def undocumented() -> list[str]:
    """Return public modules, classes and functions without a docstring."""
    found = []
    for path in tree.files("netkat/**/*.py"):
        if any(part.startswith("_") for part in path.with_suffix("").parts[1:-1]):
            continue
        module = tree.syntax(path)
        if module.body and not ast.get_docstring(module):
            found.append(str(path))
        for node in module.body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            overload = [ast.unparse(decorator) for decorator in node.decorator_list] == ["overload"]
            if not node.name.startswith("_") and not overload and not ast.get_docstring(node):
                found.append(f"{path}:{node.lineno} {node.name}")
    return found


def test_public_names_have_docstrings() -> None:
    assert undocumented() == []


@pytest.mark.parametrize("name", [name for name in netkat.__all__ if not name.startswith("__")])
def test_exported_name_is_documented(name: str) -> None:
    thing = getattr(netkat, name)
    assert inspect.getdoc(thing)
    if inspect.isclass(thing):
        methods = {
            key
            for key, value in vars(thing).items()
            if callable(value) or isinstance(value, property)
        }
        bare = [key for key in methods if key[0] != "_" and not inspect.getdoc(getattr(thing, key))]
        assert bare == []


def test_import_loads_nothing_heavy() -> None:
    done = python("import netkat, sys; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.split()
    assert "netkat" in loaded
    assert [name for name in loaded if name in HEAVY or name.startswith("pyroute2.")] == []


def test_import_does_not_map_the_library() -> None:
    done = python("import netkat; print(open('/proc/self/maps').read())")
    assert "libc" in done.stdout
    assert "libgostack" not in done.stdout


def test_import_takes_less_than_50_ms() -> None:
    def seconds(code: str) -> float:
        """Return CPU time, which other tests do not affect."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert python(code, "-S").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    pairs = [(seconds("pass"), seconds("import netkat")) for _ in range(9)]
    bare, whole = (min(times) for times in zip(*pairs, strict=True))
    assert whole - bare < 0.050


WITHOUT = """
import sys
sys.path.insert(0, {root!r})
for name in ("pyroute2", "cffi", "_cffi_backend"):
    sys.modules[name] = None  # import raises ImportError
sys.argv = ["netkat", *{arguments!r}]
from netkat.cli.app import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--help"], "connect"),
        (["connect", "--help"], "--via"),
        (["--version"], netkat.__version__),
    ],
    ids=["help", "connect-help", "version"],
)
def test_help_needs_neither_root_nor_library_nor_pyroute2(
    arguments: list[str], expected: str, tmp_path: Path
) -> None:
    """Run in a copy without the library, as a user without privileges."""
    copy = tmp_path / "tree"
    for path in tree.files("netkat/**/*.py"):
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_text(tree.text(path))
    code = WITHOUT.format(root=str(copy), arguments=arguments)
    # Root with an empty bounding set has no capability after exec.
    prefix = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*prefix, sys.executable, "-c", code], cwd="/", capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
