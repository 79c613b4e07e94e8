"""Checks of the process, the kernel and what is installed: no interface is touched."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from netkat.diagnose.check_result import Finding
from netkat.errors import NetkatError
from netkat.host.capabilities import held
from netkat.host.capability_hints import capability_hint

OLDEST_KERNEL = (4, 20)
"""PACKET_IGNORE_OUTGOING; without it every frame that netkat sends comes back to it."""

MACHINES = ("x86_64", "aarch64")
SYSTEM_PYTHON = "/usr/bin/python3"
"""Where distributions put bcc: it is in no virtual environment."""

_FOR = {
    "CAP_NET_ADMIN": "guard modes at the interface; large socket buffers",
    "CAP_BPF": "guard modes tcx and clsact",
    "CAP_SYS_ADMIN": "--netns",
    "CAP_NET_BIND_SERVICE": "local ports below 1024",
}


def capabilities() -> Finding:
    """What this process holds of what netkat can use."""
    have = held()
    stands_in = {"CAP_BPF"} if "CAP_SYS_ADMIN" in have else set()
    lacking = [name for name in _FOR if name not in have | stands_in]
    if "CAP_NET_RAW" not in have:
        what = "CAP_NET_RAW is missing: no packet socket"
        return Finding("capabilities", False, what, capability_hint(), needed=True)
    if lacking:
        what = "; ".join(f"without {name}: not {_FOR[name]}" for name in lacking)
        return Finding("capabilities", False, what, capability_hint(), needed=False)
    return Finding("capabilities", True, "CAP_NET_RAW, " + ", ".join(_FOR))


def kernel() -> Finding:
    """Version and machine."""
    system = os.uname()
    what = f"Linux {system.release} on {system.machine}"
    numbers = system.release.split("-")[0].split(".")
    version = tuple(int("".join(filter(str.isdigit, part)) or 0) for part in numbers[:2])
    if version < OLDEST_KERNEL:
        oldest = ".".join(map(str, OLDEST_KERNEL))
        return Finding("kernel", False, what, f"Linux {oldest} or later", needed=True)
    if system.machine not in MACHINES:
        return Finding("kernel", False, what, f"untested: {' and '.join(MACHINES)} are known")
    return Finding("kernel", True, what)


def library() -> Finding:
    """The Go library: there, loadable, of this package's ABI."""
    from netkat.stack.ffi import LIBRARY, load

    try:
        what = f"{LIBRARY.name}, ABI {load().calls.gs_abi()}"
    except NetkatError as error:
        return Finding("library", False, error.message, error.hint, needed=True)
    return Finding("library", True, what)


def compiler_of_the_guard() -> Finding:
    """bcc and kernel headers, which only a change of the guard's program needs."""
    from netkat.bpf.compile import header_folders

    lacking = [] if _has_bcc() else ["bcc"]
    try:
        headers = str(header_folders()[0])
    except OSError:
        lacking.append("kernel headers")
    if lacking:
        return Finding(
            "bcc, headers",
            False,
            f"{' and '.join(lacking)} not found; wanted only to compile the guard anew",
            "apt-get install python3-bpfcc linux-headers-amd64 (Debian; arm64: -arm64)",
        )
    return Finding("bcc, headers", True, f"bcc of {SYSTEM_PYTHON}, headers in {headers}")


def _has_bcc() -> bool:
    look = "import importlib.util as u, sys; sys.exit(u.find_spec('bcc') is None)"
    try:
        done = subprocess.run([SYSTEM_PYTHON, "-c", look], check=False, timeout=10, cwd=Path("/"))
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
