"""Checks of the process, the kernel and what is installed: no interface is touched."""

from __future__ import annotations

import os

from netkat.diagnose.check_result import CheckResult
from netkat.errors import NetkatError
from netkat.host.capabilities import held
from netkat.host.capability_hints import capability_hint

OLDEST_KERNEL = (4, 20)
"""PACKET_IGNORE_OUTGOING; without it every frame that netkat sends comes back to it."""

MACHINES = ("x86_64", "aarch64")

_FOR = {
    "CAP_NET_ADMIN": "guard modes at the interface; large socket buffers",
    "CAP_BPF": "guard modes tcx and clsact",
    "CAP_SYS_ADMIN": "--netns",
    "CAP_NET_BIND_SERVICE": "local ports below 1024",
}


def capabilities() -> CheckResult:
    """What this process holds of what netkat can use."""
    have = held()
    stands_in = {"CAP_BPF"} if "CAP_SYS_ADMIN" in have else set()
    lacking = [name for name in _FOR if name not in have | stands_in]
    if "CAP_NET_RAW" not in have:
        what = "CAP_NET_RAW missing: cannot open packet sockets"
        return CheckResult("capabilities", False, what, capability_hint(), required=True)
    if lacking:
        what = "; ".join(f"{name} missing: {_FOR[name]} unavailable" for name in lacking)
        return CheckResult("capabilities", False, what, capability_hint(), required=False)
    return CheckResult("capabilities", True, "CAP_NET_RAW, " + ", ".join(_FOR))


def kernel() -> CheckResult:
    """Version and machine."""
    system = os.uname()
    what = f"Linux {system.release} on {system.machine}"
    numbers = system.release.split("-")[0].split(".")
    version = tuple(int("".join(filter(str.isdigit, part)) or 0) for part in numbers[:2])
    if version < OLDEST_KERNEL:
        oldest = ".".join(map(str, OLDEST_KERNEL))
        return CheckResult(
            "kernel", False, what, f"upgrade to Linux {oldest} or later", required=True
        )
    if system.machine not in MACHINES:
        return CheckResult(
            "kernel", False, what, f"untested architecture (tested: {', '.join(MACHINES)})"
        )
    return CheckResult("kernel", True, what)


def library() -> CheckResult:
    """The Go library: there, loadable, of this package's ABI."""
    from netkat.stack.ffi import LIBRARY, load

    try:
        what = f"{LIBRARY.name}, ABI {load().calls.gs_abi()}"
    except NetkatError as error:
        return CheckResult("library", False, error.message, error.hint, required=True)
    return CheckResult("library", True, what)
