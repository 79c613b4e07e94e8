"""Plain words: string literals, docstrings and documents, and hints that start with a verb.

CLEAN and CLEAN_HINTS name what has been rewritten. They only grow.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.repo import hints, tree, words

CLEAN = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "bench",
    "buildsteps",
    "docs/architecture.md",
    "docs/compatibility.md",
    "docs/decisions",
    "docs/exceptions.md",
    "docs/glossary.md",
    "docs/http.md",
    "docs/kernel-support.md",
    "docs/known-issues.md",
    "docs/performance-experiments.md",
    "docs/performance.md",
    "docs/sniff.md",
    "docs/upgrading-gvisor.md",
    "examples",
    "netkat/__init__.py",
    "netkat/__main__.py",
    "netkat/_version.py",
    "netkat/api/default_stack.py",
    "netkat/bpf",
    "netkat/capture",
    "netkat/cli",
    "netkat/commands/sniff",
    "netkat/finalizers.py",
    "netkat/flow.py",
    "netkat/host",
    "netkat/httpx.py",
    "netkat/httpx2.py",
    "netkat/netlink.py",
    "netkat/options.py",
    "netkat/resources.py",
    "netkat/stack",
    "netkat/wire",
)
CLEAN_HINTS = (
    "netkat/bpf",
    "netkat/commands/sniff",
    "netkat/diagnose",
    "netkat/host",
    "netkat/stack",
    "netkat/system_calls.py",
    "netkat/wire",
)


def _is_below(path: Path, names: tuple[str, ...]) -> bool:
    return any(path == Path(name) or Path(name) in path.parents for name in names)


@pytest.mark.parametrize("name", [*CLEAN, *CLEAN_HINTS])
def test_clean_path_exists(name: str) -> None:
    assert (tree.ROOT / name).exists()


def test_text_uses_no_word_of_the_list() -> None:
    paths = [path for path in words.files() if _is_below(path.relative_to(tree.ROOT), CLEAN)]
    assert paths
    assert [str(use) for use in words.uses(paths)] == []


def test_every_hint_starts_with_a_verb() -> None:
    wrong = [
        f"{path}:{line}: {beginning!r}"
        for path in tree.files("netkat/**/*.py")
        if _is_below(path, CLEAN_HINTS)
        for line, beginning in hints.hints(path)
        if not hints.starts_with_verb(beginning)
    ]
    assert wrong == []


def test_hints_are_found_in_every_form(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        'hint = "one"\n'
        'A_HINT: str = "two" if x else "three"\n'
        'HINTS = {1: "four"}\n'
        'raise E("m", hint=f"five {x}")\n'
        'raise E("m", hint="six" + y)\n'
        'raise E("m", hint=z or "seven")\n'
    )
    found = {beginning.strip() for _, beginning in hints.hints(module)}
    assert found == {"one", "two", "three", "four", "five", "six", "seven"}


def test_word_list_ignores_identifiers_of_documents(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("the field `said` is what\nsomebody wrote\n")
    assert [(use.line, use.word) for use in words.uses([page])] == [(2, "somebody")]
