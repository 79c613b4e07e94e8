"""The tests: linters, type checker and Go's side on both cores at once, then pytest.

Most tests wait more than they compute, so pytest runs a few of them at a time. Some measure
time, which load can disturb: if few fail in parallel, they run again alone, and one that fails
again has failed. One that passes alone is reported as flaky, so that it gets fixed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from buildsteps import toolchain
from buildsteps.environment import PYTHON
from buildsteps.toolchain import ROOT

REPORT = ROOT / "build" / "pytest.xml"
MOST_FLAKY = 12
"""More failures than this are not caused by load."""
BROKEN = "pytest itself failed"


@dataclass(frozen=True)
class CheckStep:
    """One command; `silent` means that any output is a failure (gofmt -l exits 0)."""

    name: str
    command: Sequence[str | Path]
    silent: bool = False


@dataclass(frozen=True)
class Result:
    """Result of a step."""

    name: str
    passed: int
    failed: int
    seconds: float
    output: str = ""


def python_steps() -> list[CheckStep]:
    """Return the steps that check Python."""
    return [
        CheckStep("ruff check", [PYTHON, "-m", "ruff", "check", "--output-format=concise", "."]),
        CheckStep(
            "ruff format",
            [PYTHON, "-m", "ruff", "format", "--check", "--output-format=concise", "."],
        ),
        CheckStep("mypy --strict", [PYTHON, "-m", "mypy", "--no-error-summary"]),
    ]


def go_steps(go: str) -> list[CheckStep]:
    """Return the steps that check and run Go."""
    return [
        CheckStep("gofmt", [toolchain.gofmt(go), "-l", "gostack"], silent=True),
        # -race here too: it compiles the very packages that the next step needs.
        CheckStep("go vet", [go, "vet", "-race", "./gostack/..."]),
        CheckStep("go test -race", [go, "test", "-race", "./gostack/..."]),
    ]


def run_parallel(*step_lists: list[CheckStep]) -> list[Result]:
    """Run each list in a thread of its own, its steps in order; print results as they come."""
    with ThreadPoolExecutor(max(1, len(step_lists))) as pool:
        return [result for results in pool.map(_run_steps, step_lists) for result in results]


def run_pytest(folders: list[str], options: list[str]) -> list[Result]:
    """Run pytest with its output shown as it comes; counts are read from its own reports."""
    REPORT.parent.mkdir(exist_ok=True)
    at_once = ["-n", str((os.cpu_count() or 1) + 1), "--dist", "worksteal"]
    first = _pytest("pytest", [*at_once, "--durations=10", *options, *folders])
    failed = _failures()
    if first.output == BROKEN or not 0 < len(failed) <= MOST_FLAKY:
        return [first]
    print(f"\n{len(failed)} failed in parallel; run again, alone:", flush=True)
    second = _pytest("pytest, alone", ["--last-failed", *options, *folders])
    flaky = [name for name in failed if name not in _failures()] if second.passed else []
    for name in flaky:
        print(f"FLAKY  {name}: failed in parallel, passed alone")
    return [replace(first, failed=0), second]


def _pytest(name: str, arguments: list[str]) -> Result:
    REPORT.unlink(missing_ok=True)
    command = [str(PYTHON), "-m", "pytest", f"--junitxml={REPORT}", *arguments]
    begun = time.monotonic()
    code = subprocess.run(command, cwd=ROOT).returncode
    passed, failed = _counts()
    if code not in (0, 1):  # it failed before it counted all tests
        return Result(name, passed, max(failed, 1), time.monotonic() - begun, BROKEN)
    return Result(name, passed, failed, time.monotonic() - begun)


def run_bench() -> Result:
    """Run the short measurements: they work, and nothing is slower by a large factor."""
    begun = time.monotonic()
    code = subprocess.run([PYTHON, "-m", "bench", "--short"], cwd=ROOT).returncode
    return Result("bench --short", int(code == 0), int(code != 0), time.monotonic() - begun)


def summary(results: list[Result], left_out: list[str]) -> int:
    """Print what ran and what did not. Exit status: 0, 1, or 2 if something did not run."""
    print()
    for result in results:
        word = "FAILED" if result.failed else "ok"
        counts = result.name.startswith("pytest")
        count = f"  {result.passed} passed, {result.failed} failed" * counts
        print(f"{word:7}{result.name:15}{result.seconds:7.1f} s{count}")
    for what in left_out:
        print(f"NOT RUN {what}")
    passed = sum(result.passed for result in results)
    failed = sum(result.failed for result in results)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 2 if left_out else 0


def _run_steps(steps: list[CheckStep]) -> list[Result]:
    return [_run(step) for step in steps]


def _run(step: CheckStep) -> Result:
    begun = time.monotonic()
    done = subprocess.run(
        step.command,
        cwd=ROOT,
        env=toolchain.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    good = done.returncode == 0 and not (step.silent and done.stdout)
    result = Result(step.name, int(good), int(not good), time.monotonic() - begun, done.stdout)
    shown = f"{'ok' if good else 'FAILED':7}{result.name:15}{result.seconds:7.1f} s"
    print(shown if good else f"{shown}\n{done.stdout.rstrip()}", flush=True)
    return result


def _counts() -> tuple[int, int]:
    """Passed and failed by pytest's report; a skipped test did not pass."""
    try:
        suites = list(ElementTree.parse(REPORT).getroot().iter("testsuite"))
    except (OSError, ElementTree.ParseError):
        return 0, 1
    total, failed, skipped = (
        sum(int(suite.get(key, "0")) for suite in suites)
        for key in ("tests", "failures", "skipped")
    )
    failed += sum(int(suite.get("errors", "0")) for suite in suites)
    return total - failed - skipped, failed


def _failures() -> list[str]:
    """Those that failed, or whose set-up did, as pytest's report names them."""
    try:
        cases = list(ElementTree.parse(REPORT).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return []
    return [
        f"{case.get('classname')}::{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]


def is_root() -> bool:
    """Return whether network namespaces can be created."""
    return os.geteuid() == 0


if __name__ == "__main__":
    sys.exit("run build.py")
