"""What the machine must bring, by Debian's names, and how it gets there.

Everything is probed by the file or command that is used, not by the package: a
compiler from elsewhere is as good.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
POLICY = Path("/usr/sbin/policy-rc.d")
# Packages that bring a service which would listen from now on, at every boot.
SERVICES = {"dante-server": "danted", "nginx-light": "nginx", "iperf3": "iperf3"}


@dataclass(frozen=True)
class Need:
    """A Debian package, and the commands or paths (globs) one of which shows that it is there."""

    package: str
    probes: tuple[str, ...]

    def met(self) -> bool:
        """Whether it is there, from this package or from elsewhere."""
        return any(map(_present, self.probes))


def _need(package: str, *probes: str) -> Need:
    return Need(package, probes or (package,))


_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())

PYTHON = [
    _need("ca-certificates", "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs"),
]
# An interpreter from elsewhere without ensurepip takes pip from this package, too.
PIP = _need("python3-venv", "/usr/share/python-wheels/pip-*.whl")
BUILD = [
    _need("gcc", *os.environ.get("CC", "gcc").split()[:1], "gcc", "cc", "clang"),
    _need("libc6-dev", "/usr/include/stdio.h"),
]
DEMO = [
    _need("iproute2", "ip"),
    _need("iptables", "iptables-nft-restore"),
    _need("nftables", "nft"),
    _need("procps", "sysctl"),
]
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
    _need("nginx-light", "nginx"),
    _need("openssl"),
    _need("socat"),
    _need("tcpdump"),
    _need("tshark"),
    _need("zsh"),
]


def missing(needs: Sequence[Need]) -> list[Need]:
    """Those of `needs` that are not there, in order."""
    return [need for need in needs if not need.met()]


def obtain(needs: Sequence[Need], *, ask: bool) -> list[Need]:
    """Name what is missing and install it; return what is missing still."""
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
    """Install, refreshing the package lists once when they are empty or too old to serve."""
    install = ["install", "--yes", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0", *packages]
    with _no_service_starts():
        if _apt(["--simulate", *install], quiet=True) or _apt(install):
            _apt(["update"])
            _apt(install)
    for package in packages:
        if package in SERVICES and shutil.which("update-rc.d", path=SEARCH):
            # Not at the next boot either; its words are kept back, as a package may bring none.
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
    """Debian starts a service at install unless policy-rc.d says 101; one that is there stays."""
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            POLICY.unlink(missing_ok=True)


def _root() -> dict[str, str]:
    return dict(os.environ, PATH=SEARCH, DEBIAN_FRONTEND="noninteractive", LC_ALL="C.UTF-8")


def _present(probe: str) -> bool:
    if not probe.startswith("/"):
        return shutil.which(probe, path=SEARCH) is not None
    return next(Path("/").glob(probe.lstrip("/")), None) is not None


def on_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
