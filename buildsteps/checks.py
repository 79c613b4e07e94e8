"""The tests: linters, type checker and Go's side on both cores at once, then pytest alone.

pytest runs by itself because the tests in namespaces measure time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from buildsteps import toolchain
from buildsteps.environment import PYTHON
from buildsteps.toolchain import ROOT

REPORT = ROOT / "build" / "pytest.xml"


@dataclass(frozen=True)
class Step:
    """One command; `silent` means that any output is a failure (gofmt -l exits 0)."""

    name: str
    command: Sequence[str | Path]
    silent: bool = False


@dataclass(frozen=True)
class Result:
    """How a step ended."""

    name: str
    passed: int
    failed: int
    seconds: float
    output: str = ""


def python_steps() -> list[Step]:
    """What reads Python."""
    return [
        Step("ruff check", [PYTHON, "-m", "ruff", "check", "--output-format=concise", "."]),
        Step(
            "ruff format",
            [PYTHON, "-m", "ruff", "format", "--check", "--output-format=concise", "."],
        ),
        Step("mypy --strict", [PYTHON, "-m", "mypy", "--no-error-summary"]),
    ]


def go_steps(go: str) -> list[Step]:
    """What reads and runs Go."""
    return [
        Step("gofmt", [toolchain.gofmt(go), "-l", "gostack"], silent=True),
        # -race here too: it compiles the very packages that the next step needs.
        Step("go vet", [go, "vet", "-race", "./gostack/..."]),
        Step("go test -race", [go, "test", "-race", "./gostack/..."]),
    ]


def run_lanes(*lanes: list[Step]) -> list[Result]:
    """Every lane on a core of its own, its steps in order; each result is shown as it comes."""
    with ThreadPoolExecutor(max(1, len(lanes))) as pool:
        return [result for lane in pool.map(_run_lane, lanes) for result in lane]


def run_pytest(folders: list[str], options: list[str]) -> Result:
    """Run pytest with its output shown as it comes; counts are read from its own report."""
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.unlink(missing_ok=True)
    command = [str(PYTHON), "-m", "pytest", "--durations=10", f"--junitxml={REPORT}"]
    begun = time.monotonic()
    code = subprocess.run([*command, *options, *folders], cwd=ROOT).returncode
    passed, failed = _counts()
    if code not in (0, 1) and not failed:  # it broke down before it could count
        failed = 1
    return Result("pytest", passed, failed, time.monotonic() - begun)


def summary(results: list[Result], left_out: list[str]) -> int:
    """Print what ran and what did not; the last line counts. Exit code: 0, 1, or 2 for a part."""
    print()
    for result in results:
        word = "FAILED" if result.failed else "ok"
        count = f"  {result.passed} passed, {result.failed} failed" * (result.name == "pytest")
        print(f"{word:7}{result.name:15}{result.seconds:7.1f} s{count}")
    for what in left_out:
        print(f"NOT RUN {what}")
    passed = sum(result.passed for result in results)
    failed = sum(result.failed for result in results)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 2 if left_out else 0


def _run_lane(steps: list[Step]) -> list[Result]:
    return [_run(step) for step in steps]


def _run(step: Step) -> Result:
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


def is_root() -> bool:
    """Whether network namespaces can be made."""
    return os.geteuid() == 0


if __name__ == "__main__":
    sys.exit("run build.py")
