"""A file system with Debian's minimal system, and programs that run in it.

Mounts are made in a mount namespace of the program, so none is left after it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_PASSED_ON = ("PIP_CERT", "HTTP", "HTTPS", "NO_PROXY", "GOPROXY", "GOSUMDB", "SSL_CERT_FILE")
"""Prefixes of variables that say how this machine reaches package indexes."""
_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_MOUNTS = """\
mount --bind "$0" "$0"  # `ip netns` requires that / is a mount point
cd "$0"
mount -t proc proc "$0/proc"
mount --rbind /sys "$0/sys"
mount --rbind /dev "$0/dev"
mount -t tmpfs tmpfs "$0/run"
exec chroot "$0" "$@"
"""


class BareRoot:
    """Debian 12 in a folder."""

    def __init__(self, folder: Path, *packages: str) -> None:
        self.folder = folder
        bootstrap(folder, "--variant=minbase", *packages)
        # Name servers and authorities of this machine, as an administrator would set them up.
        shutil.copyfile("/etc/resolv.conf", folder / "etc/resolv.conf")
        bundle = folder / _BUNDLE.relative_to("/")
        if _BUNDLE.exists() and bundle.exists():
            shutil.copyfile(_BUNDLE, bundle)

    def run(self, *command: str, cwd: str = "/") -> subprocess.CompletedProcess[str]:
        """Run a program as root, with /proc, /sys, /dev and an empty /run."""
        prefixes = tuple(name.lower() for name in _PASSED_ON)
        passed = {k: v for k, v in os.environ.items() if k.lower().startswith(prefixes)}
        environment = {
            **passed,
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            "CI": "true",
        }
        inside = ["env", "-C", cwd, *command]
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        return subprocess.run(
            [*namespaces, "sh", "-ec", _MOUNTS, str(self.folder), *inside],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )


def bootstrap(folder: Path, variant: str, *packages: str, architecture: str = "") -> None:
    """Unpack Debian 12's packages into a folder."""
    options = [variant, f"--include={','.join(packages)}"]
    if architecture:
        options.append(f"--architectures={architecture}")
    done = subprocess.run(
        ["mmdebstrap", "--quiet", *options, "bookworm", str(folder)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
