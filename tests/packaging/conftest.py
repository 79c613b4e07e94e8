"""The wheels, built once for all tests."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from buildsteps import portable, wheels


@pytest.fixture(scope="session")
def built() -> dict[str, Path]:
    """The wheel of each architecture. One test process builds, the others wait."""
    wheels.DIST.mkdir(exist_ok=True)
    with (wheels.DIST / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        paths = wheels.build()
    return {target.machine: path for target, path in zip(portable.TARGETS, paths, strict=True)}


@pytest.fixture(params=[target.machine for target in portable.TARGETS])
def wheel(request: pytest.FixtureRequest, built: dict[str, Path]) -> Path:
    return built[str(request.param)]
