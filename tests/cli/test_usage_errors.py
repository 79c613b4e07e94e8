"""Usage errors of the option parser: what is suggested, and the length of --help."""

from __future__ import annotations

import subprocess
import sys

import pytest

NETKAT = [sys.executable, "-m", "netkat"]


def netkat(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*NETKAT, *arguments], capture_output=True, text=True, timeout=20, check=False
    )


def test_top_level_help_fits_one_screen() -> None:
    done = netkat("--help")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) <= 60
    assert "netkat connect --help" in done.stdout


@pytest.mark.parametrize(
    ("option", "hint"),
    [("--jsn", "use --json"), ("--send-onyl", "use --send-only"), ("--foo", "see: netkat")],
)
def test_unknown_option_suggests_similar_ones_only(option: str, hint: str) -> None:
    done = netkat(option, "host", "80")
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first == f"netkat: unknown option {option}"
    assert second.startswith(f"  next: {hint}")
