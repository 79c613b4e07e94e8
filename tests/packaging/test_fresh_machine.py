"""The README's two commands on a machine that has only python3, from a clone."""

from __future__ import annotations

import subprocess

import pytest

from buildsteps import toolchain
from tests.packaging.bare_root import BareRoot

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> BareRoot:
    made = BareRoot(tmp_path_factory.mktemp("fresh") / "root", "python3", "ca-certificates")
    target = made.folder / "srv/netkat"
    subprocess.run(["git", "clone", "--quiet", toolchain.ROOT, target], check=True)
    return made


def test_demo_command_shows_the_table(root: BareRoot) -> None:
    done = root.run("python3", "build.py", "demo", cwd="/srv/netkat")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "WRONG" in done.stdout
    assert "hairpin" in done.stdout


def test_test_command_installs_what_its_tests_need(root: BareRoot) -> None:
    # All linters and Go's tests, and of pytest a few: the rest ran before this test did.
    command = ["python3", "build.py", "test", "--", "-k", "test_build or test_demo"]
    done = root.run(*command, cwd="/srv/netkat")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "NOT RUN" not in done.stdout
