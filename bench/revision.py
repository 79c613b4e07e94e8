"""Two builds of netkat, run by the same interpreter: this tree and another revision of it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.testbed import ROOT


@dataclass(frozen=True)
class Build:
    """A source tree with its shared library built."""

    name: str
    tree: Path

    @property
    def command(self) -> list[str]:
        """Argument vector that starts the command of this build."""
        return [sys.executable, "-m", "netkat"]

    @property
    def options(self) -> dict[str, Any]:
        """Popen's options with which `import netkat` finds this build: the working directory comes
        before PYTHONPATH.
        """
        return {"cwd": self.tree, "env": {**os.environ, "PYTHONPATH": str(self.tree)}}


@contextlib.contextmanager
def builds(revision: str) -> Iterator[tuple[Build, Build]]:
    """Yield this tree's build and the revision's, which is checked out and built in a temporary
    directory that is removed afterwards. Errors: CalledProcessError.
    """
    with tempfile.TemporaryDirectory(prefix="netkat-bench-") as folder:
        tree = Path(folder) / "tree"
        _git("worktree", "add", "--quiet", "--detach", str(tree), revision)
        try:
            subprocess.run([sys.executable, "build.py", "build"], cwd=tree, check=True)
            # Start-up is compared, so both need bytecode, as an installed netkat has it.
            for place in (tree, ROOT):
                subprocess.run([sys.executable, "-m", "compileall", "-q", place / "netkat"])
            yield Build("netkat", ROOT), Build(revision, tree)
        finally:
            _git("worktree", "remove", "--force", str(tree))


def _git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=ROOT, check=True)
