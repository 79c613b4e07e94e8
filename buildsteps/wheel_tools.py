"""A virtual environment with what builds wheels: versions and hashes are pinned."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from buildsteps import native
from buildsteps.environment import VENV
from buildsteps.toolchain import ROOT, CannotBuild

REQUIREMENTS = ROOT / "buildsteps" / "wheel-requirements.txt"
FOLDER = VENV / "netkat-wheel-tools"
PYTHON = FOLDER / "bin" / "python"
_STAMP = FOLDER / "netkat-requirements"


def ensure() -> None:
    """Create the environment if it is missing or out of date. Errors: CannotBuild."""
    wanted = native.fingerprint([REQUIREMENTS], str(FOLDER))
    if _STAMP.exists() and _STAMP.read_text() == wanted:
        return
    print("installing what builds wheels into .venv/netkat-wheel-tools", flush=True)
    base = VENV / "bin" / "python"
    _run([base if base.exists() else sys.executable, "-m", "venv", "--clear", FOLDER])
    pip: list[str | Path] = [
        PYTHON,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--quiet",
        "install",
    ]
    _run([*pip, "--only-binary", ":all:", "--require-hashes", "-r", REQUIREMENTS])
    _STAMP.write_text(wanted)


def zig() -> Path:
    """Return the path of the zig program."""
    found = sorted(FOLDER.glob("lib/python3*/site-packages/ziglang/zig"))
    if not found:
        raise CannotBuild("ziglang has no zig program for this machine")
    return found[0]


def pinned(name: str) -> str:
    """Return the version that the requirements name for a package."""
    for line in REQUIREMENTS.read_text().splitlines():
        package, equals, rest = line.partition("==")
        if equals and package == name:
            return rest.split()[0]
    raise LookupError(f"{REQUIREMENTS.name} does not pin {name}")


def _run(command: list[str | Path]) -> None:
    if subprocess.run(command, cwd=ROOT).returncode != 0:
        raise CannotBuild(f"`{' '.join(map(str, command))}` failed; its output is above")
