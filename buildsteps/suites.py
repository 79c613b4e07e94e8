"""Sources of third-party test suites, which tests/compat runs over netkat's connections."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from buildsteps.toolchain import CannotBuild

HASHES = {
    "httpcore==1.0.9": "6e34463af53fd2ab5d807f399a9b45ea31c3dfa2276f15a2c3f00afff6e176e8",
    "urllib3==2.8.0": "63bf2ead4c879426ebf22ef2a781eeb4aa3b4ae798a0435506f8687fd5bb9b63",
}
"""SHA-256 of the source archives. The versions are those of pyproject.toml."""


def ensure(python: Path, folder: Path) -> None:
    """Download each source with pip and unpack it into the folder, once. Errors: CannotBuild."""
    lacking = [pin for pin in HASHES if not (folder / pin.replace("==", "-")).is_dir()]
    if not lacking:
        return
    print("fetching the sources of " + ", ".join(lacking), flush=True)
    with tempfile.TemporaryDirectory() as name:
        made = Path(name)
        (made / "wanted").write_text(
            "".join(f"{pin} --hash=sha256:{HASHES[pin]}\n" for pin in lacking)
        )
        names = ",".join(pin.partition("==")[0] for pin in lacking)
        asked = ["download", "--quiet", "--no-deps", "--require-hashes", "--no-binary", names]
        command: list[str | Path] = [python, "-m", "pip", *asked, "-d", name, "-r", made / "wanted"]
        if subprocess.run(command).returncode != 0:
            raise CannotBuild("pip could not download them; its output is above")
        folder.mkdir(exist_ok=True)
        for archive in made.glob("*.tar.gz"):
            with tarfile.open(archive) as packed:
                safe = {"filter": "data"} if sys.version_info >= (3, 12) else {}
                packed.extractall(folder, **safe)  # type: ignore[arg-type]
