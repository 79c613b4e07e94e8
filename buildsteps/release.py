"""`build.py release --dry-run`: everything that RELEASING.md names, without publishing."""

from __future__ import annotations

import hashlib
import subprocess

from buildsteps import checks, native, vulnerabilities, wheels
from buildsteps.toolchain import ROOT, CannotBuild


def dry_run() -> int:
    """Build and check the files of a release, and print their hashes. Return the exit status."""
    _require_changelog_entry()
    if changed := _uncommitted():
        print(f"not ready: uncommitted changes: {', '.join(changed[:5])}")
    results = checks.run_parallel(vulnerabilities.steps(native.require_go()))
    made = wheels.build()
    for path in made:
        print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}")
    print("dry run: nothing was tagged or published; there is no wheel of kubectl-netkat yet")
    return 1 if changed or any(result.failed for result in results) else 0


def _require_changelog_entry() -> None:
    if f"## [{wheels.version()}]" not in (ROOT / "CHANGELOG.md").read_text():
        raise CannotBuild(f"CHANGELOG.md has no entry for {wheels.version()}")


def _uncommitted() -> list[str]:
    command = ["git", "status", "--porcelain"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [line[3:] for line in done.stdout.splitlines()]
