"""No circular imports, those within functions included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.repo import tree

JUSTIFIED: dict[frozenset[str], str] = {}
"""Cycles that start-up time is measured to need, with the measurement."""

TO_REMOVE = {
    frozenset({"netkat.host.fib", "netkat.host.ip_rules", "netkat.host.routes"}),
    frozenset({"netkat.host.capabilities", "netkat.host.capability_hints"}),
    frozenset(
        f"netkat.commands.sniff.{name}" for name in ("flow_report", "outputs", "packet_json")
    ),
    frozenset({"netkat.diagnose.why.report", "netkat.diagnose.why.result"}),
}
"""Cycles that are still there. This set only shrinks."""


def _modules() -> dict[str, Path]:
    return {_name(path): path for path in tree.files("netkat/**/*.py")}


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(path: Path, modules: dict[str, Path]) -> Iterator[str]:
    """Return the modules that a file imports when it runs: not those for type checking."""
    made = {_name(Path(name)) for name in tree.MADE}
    for found in tree.imports(path):
        if found.for_types:
            continue
        names = [f"{found.module}.{name}" for name in found.names]
        submodules = [name for name in names if name in modules or name in made]
        yield from submodules
        if len(submodules) < len(names) or not names:
            yield found.module


def cycles(imports: dict[str, set[str]]) -> set[frozenset[str]]:
    """Return each set of modules of which every one imports every other, in steps."""
    reached = {module: _reachable(module, imports) for module in imports}
    return {
        frozenset({other for other in reached[module] if module in reached.get(other, ())})
        for module in imports
        if module in reached[module]
    }


def _reachable(module: str, imports: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        for other in imports.get(waiting.pop(), ()):
            if other not in seen:
                seen.add(other)
                waiting.append(other)
    return seen


def test_imports_have_no_cycle() -> None:
    modules = _modules()
    imports = {name: set(_imported(path, modules)) - {name} for name, path in modules.items()}
    found = cycles({name: {each for each in to if each in modules} for name, to in imports.items()})
    assert [sorted(each) for each in found - TO_REMOVE - set(JUSTIFIED)] == []


def test_cycles_are_found_across_several_modules() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a", "d1"}, "d1": {"d"}}
    assert cycles(graph) == {frozenset("bc"), frozenset({"d", "d1"})}
