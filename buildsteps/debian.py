"""Debian packages that are required, and their installation.

A requirement is probed by the file or command that is used, not by the package, so that a
compiler from another source counts.
"""

from __future__ import annotations

import ast
import contextlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildsteps.toolchain import ROOT

SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
POLICY = Path("/usr/sbin/policy-rc.d")
# Packages with a service that would listen from now on, at every boot.
SERVICES = {"dante-server": "danted", "nginx-light": "nginx", "iperf3": "iperf3"}


@dataclass(frozen=True)
class Need:
    """A Debian package, and the commands or paths (globs) any of which proves it."""

    package: str
    probes: tuple[str, ...]

    def met(self) -> bool:
        """Return whether it is installed, from this package or another source."""
        return any(map(_present, self.probes))


def _need(package: str, *probes: str) -> Need:
    return Need(package, probes or (package,))


def _demo_programs() -> dict[str, str]:
    """Return the programs that netkat demo runs, each with its Debian package."""
    # Read as a syntax tree: netkat's dependencies may not be installed yet.
    source = ROOT / "netkat" / "commands" / "demo" / "tools.py"
    for node in ast.parse(source.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PACKAGES":
            return dict(ast.literal_eval(node.value))
    raise LookupError(f"{source.name} has no PACKAGES")


_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())

PYTHON = [
    _need("ca-certificates", "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs"),
]
# Also the source of pip for another interpreter without ensurepip.
PIP = _need("python3-venv", "/usr/share/python-wheels/pip-*.whl")
BUILD = [
    _need("gcc", *os.environ.get("CC", "gcc").split()[:1], "gcc", "cc", "clang"),
    _need("libc6-dev", "/usr/include/stdio.h"),
]
# The command itself names the programs that its demo runs; one list for both.
DEMO = [_need(package, program) for program, package in _demo_programs().items()]
BPF = [
    _need("python3-bpfcc", "/usr/lib/python3/dist-packages/bcc/__init__.py"),
    _need(
        f"linux-headers-{_ARCHITECTURE}",
        f"/lib/modules/{platform.release()}/build/include",
        f"/usr/src/linux-headers-*-{_ARCHITECTURE}/include",
    ),
]
PEERS = [
    _need("conntrack"),
    _need("curl"),
    _need("dante-server", "danted"),
    _need("ethtool"),
    _need("fish"),
    _need("git"),
    _need("iperf3"),
    _need("iputils-ping", "ping"),
    _need("libpcap0.8", "/usr/lib/*/libpcap.so.0.8", "/usr/lib*/libpcap.so.1"),
    _need("libpython3.11-testsuite", "/usr/lib/python3.11/test/test_socket.py"),
    _need("mandoc"),
    _need("microsocks"),
    _need("ncat"),
    _need("netcat-openbsd", "nc.openbsd"),
    _need("procps", "sysctl"),
    _need("nginx-light", "nginx"),
    _need("openssl"),
    _need("socat"),
    _need("tcpdump"),
    _need("tshark"),
    _need("zsh"),
]

# Bare roots that the wheels are installed and run in, and their symbol versions.
ROOTS = [
    _need("binutils", "readelf"),
    _need("mmdebstrap"),
    _need("qemu-user-static", "qemu-aarch64-static"),
]


def missing(needs: Sequence[Need]) -> list[Need]:
    """Return the needs that are not met, in order."""
    return [need for need in needs if not need.met()]


def obtain(needs: Sequence[Need], *, ask: bool) -> list[Need]:
    """List what is missing and install it. Return what is still missing."""
    lacking = missing(needs)
    if not lacking:
        return []
    names = " ".join(need.package for need in lacking)
    print(f"missing (Debian packages): {names}")
    if os.geteuid() != 0 or not shutil.which("apt-get", path=SEARCH):
        prefix = "" if os.geteuid() == 0 else "sudo "
        print(f"install with: {prefix}apt-get install {names}")
        return lacking
    if ask and input("install them now with apt-get? [Y/n] ").strip().lower() not in (
        "",
        "y",
        "yes",
    ):
        return lacking
    _install([need.package for need in lacking])
    return missing(needs)


def _install(packages: list[str]) -> None:
    """Install, after updating the package lists if they are empty or too old."""
    install = ["install", "--yes", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0", *packages]
    with _no_service_starts():
        if _apt(["--simulate", *install], quiet=True) or _apt(install):
            _apt(["update"])
            _apt(install)
    for package in packages:
        if package in SERVICES and shutil.which("update-rc.d", path=SEARCH):
            # Not at the next boot either. A package may have no service, so output is discarded.
            subprocess.run(
                ["update-rc.d", SERVICES[package], "disable"], capture_output=True, env=_root()
            )


def _apt(arguments: list[str], *, quiet: bool = False) -> int:
    if not quiet:
        print("apt-get " + " ".join(arguments), flush=True)
    out = subprocess.DEVNULL if quiet else None
    return subprocess.run(
        ["apt-get", "-q", *arguments], env=_root(), stdin=subprocess.DEVNULL, stdout=out, stderr=out
    ).returncode


@contextlib.contextmanager
def _no_service_starts() -> Iterator[None]:
    """Keep Debian from starting services: policy-rc.d exits with 101. An existing one is kept."""
    created = not POLICY.exists()
    if created:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if created:
            POLICY.unlink(missing_ok=True)


def _root() -> dict[str, str]:
    return dict(os.environ, PATH=SEARCH, DEBIAN_FRONTEND="noninteractive", LC_ALL="C.UTF-8")


def _present(probe: str) -> bool:
    if not probe.startswith("/"):
        return shutil.which(probe, path=SEARCH) is not None
    return next(Path("/").glob(probe.lstrip("/")), None) is not None


def on_terminal() -> bool:
    """Return whether a person can be asked."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
