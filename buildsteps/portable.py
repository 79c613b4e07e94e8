"""The shared library for wheels: linked against glibc 2.17 by zig's C compiler.

A library that gcc links requires the glibc of the machine it was built on. zig ships the symbol
lists of old glibc versions, and compiles for both architectures.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from buildsteps import native, toolchain, wheel_tools
from buildsteps.toolchain import ROOT, CannotBuild

GLIBC = (2, 17)
"""The oldest glibc that Go 1.26's supported systems have (RHEL 7), and manylinux2014's."""

_CFLAGS = "-O2 -g0"
_LINK = f"{native.GO_LINK} -extldflags=-s"
# Without debug sections, which have the path of zig's headers.


@dataclass(frozen=True)
class Target:
    """An architecture, as the kernel and as Go call it."""

    machine: str
    goarch: str

    @property
    def library(self) -> Path:
        """Return where its library is built."""
        return ROOT / "build" / "portable" / self.machine / native.LIBRARY.name

    @property
    def platform(self) -> str:
        """Return the platform tag of its wheel (PEP 600)."""
        return f"manylinux_{GLIBC[0]}_{GLIBC[1]}_{self.machine}"


TARGETS = (Target("x86_64", "amd64"), Target("aarch64", "arm64"))


def build(target: Target) -> bool:
    """Build the library of one architecture. Return False if it is up to date."""
    go = native.require_go()
    triple = f"{target.machine}-linux-gnu.{GLIBC[0]}.{GLIBC[1]}"
    settings = [toolchain.version(go), wheel_tools.pinned("ziglang"), triple, _LINK, _CFLAGS]
    now = native.fingerprint(native.library_sources(), *settings, *native.GO_BUILD)
    name = f"{native.LIBRARY.name} {target.machine}"
    if target.library.exists() and native.recorded(name) == now:
        return False
    print(f"building {native.LIBRARY.name} for {target.machine} (about a minute)", flush=True)
    target.library.parent.mkdir(parents=True, exist_ok=True)
    command = [go, *native.GO_BUILD, _LINK, "-o", str(target.library), "./gostack"]
    if subprocess.run(command, cwd=ROOT, env=_environment(target, triple)).returncode != 0:
        raise CannotBuild("go build failed; its output is above")
    target.library.with_suffix(".h").unlink(missing_ok=True)
    native.record(name, now)
    return True


def _environment(target: Target, triple: str) -> dict[str, str]:
    cache = str(ROOT / "build" / "zig-cache")
    settings = {
        "CGO_CFLAGS": _CFLAGS,
        "CC": f"{wheel_tools.zig()} cc -target {triple}",
        "GOOS": "linux",
        "GOARCH": target.goarch,
        "GOAMD64": "v1",
        "GOARM64": "v8.0",
        "ZIG_GLOBAL_CACHE_DIR": cache,
        "ZIG_LOCAL_CACHE_DIR": cache,
    }
    mine = toolchain.environment()
    for name in ("CGO_LDFLAGS", "GOFLAGS", "GOEXPERIMENT"):
        mine.pop(name, None)
    return {**mine, **settings}
