"""The pinned tools and the licences, without building anything."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from buildsteps import sbom, toolchain, wheel_tools

MODULE = re.compile(r"^\s*(?:require )?([\w.]+/\S+) (v\S+)", re.MULTILINE)
MODULES = [match[0] for match in MODULE.findall((toolchain.ROOT / "go.mod").read_text())]


def test_every_build_requirement_has_a_version_and_a_hash() -> None:
    text = wheel_tools.REQUIREMENTS.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert {"auditwheel", "cffi", "hatchling", "ziglang"} <= {line.split("==")[0] for line in lines}
    for line in lines:
        assert re.match(r"[\w.-]+==[\w.]+ ", line), line
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", line), line


@pytest.mark.parametrize("module", MODULES)
def test_licence_is_that_of_the_module(module: str) -> None:
    command = ["go", "list", "-m", "-f", "{{.Dir}}", module]
    go = toolchain.fitting_go()
    assert go is not None
    done = subprocess.run(
        [go, *command[1:]],
        cwd=toolchain.ROOT,
        env=toolchain.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    own = (sbom.LICENSES / (module.replace("/", "-") + ".txt")).read_bytes()
    assert own == (Path(done.stdout.strip()) / "LICENSE").read_bytes()
