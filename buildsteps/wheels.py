"""`build.py wheels`: a wheel for each architecture, in dist/, and its check.

A wheel is built from a copy of the committed files, so nothing else of the working tree is in it.
Its bytes depend on these files and on pinned tools only.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from buildsteps import native, portable, sbom, wheel_tools
from buildsteps.portable import Target
from buildsteps.toolchain import ROOT, CannotBuild

DIST = ROOT / "dist"
EPOCH = "1577836800"
"""Time of every file in a wheel (2020-01-01): that of a commit would differ between two commits
of the same files."""

_POLICY = re.compile(r'platform\s+tag:\s+"manylinux_(\d+)_(\d+)_(\w+)"')


def build() -> list[Path]:
    """Build and check the wheels. Return their paths. Errors: CannotBuild."""
    wheel_tools.ensure()
    return [_build(target) for target in portable.TARGETS]


def version() -> str:
    """Return netkat's version."""
    found = re.search(r'__version__ = "(.+?)"', (ROOT / "netkat/_version.py").read_text())
    if found is None:
        raise CannotBuild("netkat/_version.py has no version")
    return found[1]


def name(target: Target) -> str:
    """Return the file name of the wheel for one architecture."""
    return f"netkat-{version()}-py3-none-{target.platform}.whl"


def audit(wheel: Path) -> tuple[int, int]:
    """Return the glibc version that auditwheel finds required. Errors: CannotBuild."""
    command: list[str | Path] = [wheel_tools.PYTHON, "-m", "auditwheel", "show", wheel]
    done = subprocess.run(command, capture_output=True, text=True)
    found = _POLICY.search(" ".join(done.stdout.split()))
    if found is None:
        raise CannotBuild(f"auditwheel rejects {wheel.name}: {done.stdout}{done.stderr}".rstrip())
    return int(found[1]), int(found[2])


def _build(target: Target) -> Path:
    portable.build(target)
    sources = _committed()
    wheel = DIST / name(target)
    pins = [target.platform, wheel_tools.REQUIREMENTS.read_text()]
    now = native.fingerprint([*sources, target.library], *pins)
    if wheel.exists() and native.recorded(wheel.name) == now:
        print(f"{wheel.name} is up to date")
        return wheel
    DIST.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="wheel-", dir=ROOT / "build") as folder:
        tree = Path(folder)
        _copy(sources, tree)
        shutil.copyfile(target.library, tree / native.LIBRARY.relative_to(ROOT))
        (tree / "build").mkdir()
        (tree / "build" / sbom.NAME).write_text(sbom.document(target.library, version()))
        _hatch(tree, target)
        (made,) = (tree / "dist").glob("*.whl")
        if made.name != wheel.name:
            raise CannotBuild(f"hatchling built {made.name}, not {wheel.name}")
        required = audit(made)
        if required > portable.GLIBC:
            raise CannotBuild(f"{made.name} requires glibc {required[0]}.{required[1]}")
        shutil.move(made, wheel)
    native.record(wheel.name, now)
    print(f"built {wheel.name} ({wheel.stat().st_size / 1e6:.1f} MB)")
    return wheel


def _committed() -> list[Path]:
    """Return the files that git tracks and that still exist, or all files of an archive."""
    command = ["git", "ls-files", "-z", "--", "."]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise CannotBuild("wheels are built from a git clone; git ls-files failed") from None
    paths = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def _copy(sources: list[Path], tree: Path) -> None:
    for path in sources:
        target = tree / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)


def _hatch(tree: Path, target: Target) -> None:
    settings = {
        "NETKAT_WHEEL_PLATFORM": target.platform,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": EPOCH,
    }
    command: list[str | Path] = [wheel_tools.PYTHON, "-m", "hatchling", "build", "-t", "wheel"]
    environment = {**os.environ, **settings}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise CannotBuild(f"hatchling failed: {done.stdout}{done.stderr}".rstrip())
