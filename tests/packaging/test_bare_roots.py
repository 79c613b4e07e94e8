"""The wheels installed and run where nothing else is: Debian 12, and arm64 emulated by qemu."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from buildsteps import toolchain, wheels
from tests.packaging.bare_root import BareRoot, bootstrap

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

DATA = """\
import os, socket, netkat
from tests.stack.network import Network, receive_to_end, send_all
sent = os.urandom(200_000)
with Network() as network:
    client, server = network.pair()
    send_all(client, sent)
    client.shutdown(socket.SHUT_WR)
    assert receive_to_end(server) == sent
    client.close(); server.close()
print(netkat.__file__, os.uname().machine)
"""
"""Two stacks of the installed netkat, joined by memory: 200 kB of TCP."""


def download(folder: Path, *options: str) -> None:
    """Fetch netkat's dependencies as wheels."""
    names = ["cffi", "dnspython", "pyroute2", "python-socks", "typer"]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:"]
    subprocess.run([*pip, *options, "-d", folder, *names], check=True)


def copy_network(target: Path) -> None:
    """Copy the in-memory network of tests/stack, without netkat itself."""
    (target / "tests" / "stack").mkdir(parents=True)
    shutil.copy(toolchain.ROOT / "tests/stack/network.py", target / "tests" / "stack")


def test_wheel_runs_in_a_bare_debian_12(built: dict[str, Path], tmp_path: Path) -> None:
    root = BareRoot(tmp_path / "root", "python3", "python3-venv")
    folder = root.folder / "opt/wheels"
    folder.mkdir()
    shutil.copy(built["x86_64"], folder)
    platform = ["--python-version", "3.11", "--platform", "manylinux_2_17_x86_64"]
    download(folder, *platform, "--platform", "manylinux2014_x86_64")
    copy_network(root.folder / "opt/src")

    created = root.run("python3", "-m", "venv", "/opt/venv")
    assert created.returncode == 0, created.stderr
    pip = ["/opt/venv/bin/pip", "install", "--no-index", "--find-links", "/opt/wheels"]
    installed = root.run(*pip, "netkat")
    assert installed.returncode == 0, installed.stdout + installed.stderr

    shown = root.run("/opt/venv/bin/netkat", "--version")
    assert shown.stdout.startswith(f"netkat {wheels.version()}"), shown.stderr
    doctor = root.run("/opt/venv/bin/netkat", "doctor", "--json")
    assert doctor.returncode in (0, 1), doctor.stderr
    assert json.loads(doctor.stdout)
    run = root.run("/opt/venv/bin/python", "-c", DATA, cwd="/opt/src")
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("/opt/venv/lib/")
    for path in ("share/man/man1/netkat.1", "share/bash-completion/completions/netkat"):
        assert (root.folder / "opt/venv" / path).is_file()


def test_arm64_wheel_runs_under_qemu(built: dict[str, Path], tmp_path: Path) -> None:
    root = tmp_path / "root"
    bootstrap(root, "--variant=extract", "python3", "python3-cffi-backend", architecture="arm64")
    packages = tmp_path / "packages"
    wheelhouse = tmp_path / "wheels"
    download(wheelhouse)
    pure = [*wheelhouse.glob("*-none-any.whl")]
    for path in [built["aarch64"], *pure]:
        zipfile.ZipFile(path).extractall(packages)
    copy_network(tmp_path / "src")
    python: list[str | Path] = ["qemu-aarch64-static", "-L", root, root / "usr/bin/python3.11"]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{packages}:{tmp_path / 'src'}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [*python, "-c", DATA], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{packages}/netkat/__init__.py aarch64\n"
