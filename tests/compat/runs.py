"""The suites, each in a process of its own between two namespaces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from buildsteps.environment import SUITES
from tests.helpers.netns import ROOT, Pair

_LIMIT = 115
"""Seconds; pytest gives a test 120."""


def socket_classes(folder: Path) -> list[str]:
    """The classes of CPython's test_socket that hold cases."""
    return list(_cpython(folder))


def socket_tests(pair: Pair, folder: Path, classes: Sequence[str]) -> dict[str, dict[str, str]]:
    """What became of their cases; files that they make are made in the folder."""
    addresses = {
        "server": [pair.peer.ipv4, pair.peer.ipv6],
        "client": [pair.host.ipv4, pair.host.ipv6],
    }
    found: dict[str, dict[str, str]] = _cpython(
        folder, pair.host.name, pair.peer.name, json.dumps(addresses), *classes
    )
    return found


def pytest_tests(
    pair: Pair, folder: Path, suite: str, files: Sequence[str], left_out: Sequence[str] = ()
) -> dict[str, dict[str, str]]:
    """What became of the cases in files of a suite that buildsteps/suites.py fetched."""
    result = folder / "outcomes.json"
    place = {
        "host": pair.host.name,
        "client": {"4": pair.host.ipv4, "6": pair.host.ipv6},
        "peer": {"4": pair.peer.ipv4, "6": pair.peer.ipv6},
        "result": str(result),
    }
    (source,) = SUITES.glob(f"{suite}-*")
    options = ["-q", "--tb=short", "-p", "no:cacheprovider", "-p", "no:netkat", "--timeout", "60"]
    # Not from within: a suite's package may be called tests, as ours is.
    options += ["-c", f"{source}/pyproject.toml", "--rootdir", str(source)]
    if suite == "httpcore":
        options += ["--import-mode", "importlib"]
    options += [word for case in left_out for word in ("--deselect", case)]
    plugin = f"tests.compat.{suite}_plugin"
    done = pair.peer.run(
        [
            sys.executable,
            "-m",
            "pytest",
            *options,
            "-p",
            plugin,
            *(source / name for name in files),
        ],
        cwd=folder,
        # CI: urllib3's own word for a machine that takes its time.
        env={"NETKAT_COMPAT": json.dumps(place), "PYTHONDONTWRITEBYTECODE": "1", "CI": "true"},
        timeout=_LIMIT,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[str, dict[str, str]] = json.loads(result.read_text())
    return found


def _cpython(folder: Path, *words: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "tests.compat.cpython", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=_LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
