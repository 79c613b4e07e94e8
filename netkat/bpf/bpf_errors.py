"""Error messages for programs that the kernel does not load or attach."""

from __future__ import annotations

import errno
import os
from typing import Final

from netkat.errors import GuardFailed, InterfaceDown, KernelTooOld, MissingCapability, SetupError

CAPABILITY: Final = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21, "CAP_BPF": 39}
"""uapi/linux/capability.h. CAP_BPF is of Linux 5.8; CAP_SYS_ADMIN includes it."""

FEATURE: Final = {
    "bpf(2)": (3, 18),
    "clsact": (4, 5),
    "cls_bpf": (4, 4),
    "eBPF guard": (4, 18),
    "tcx": (6, 6),
}
"""Linux versions: tcx links and BPF_F_BEFORE 6.6, bpf_skb_load_bytes_relative 4.18, the
clsact qdisc 4.5, direct-action cls_bpf 4.4."""


def effective() -> frozenset[str]:
    """Return which of the capabilities above are effective in this thread."""
    with open("/proc/thread-self/status") as status:
        for line in status:
            if line.startswith("CapEff:"):
                bits = int(line.split()[1], 16)
                return frozenset(name for name, bit in CAPABILITY.items() if bits >> bit & 1)
    return frozenset()


def kernel() -> tuple[int, int]:
    """Return the running kernel's version."""
    major, minor, *_ = os.uname().release.split("-")[0].split(".")
    return int(major), int("".join(c for c in minor if c.isdigit()))


def to_setup_error(
    error: OSError, what: str, feature: str, needs: tuple[str, ...], interface: str
) -> SetupError:
    """Return the error for ``what``, which failed with ``error``.

    ``feature`` is a key of FEATURE, ``needs`` the capabilities that it requires.
    """
    number = error.errno
    if isinstance(error, SetupError):
        return error
    if number in (errno.EPERM, errno.EACCES):
        return _not_permitted(what, needs)
    if number == errno.ENODEV:
        return InterfaceDown(f"{interface} was deleted")
    least = FEATURE[feature]
    if number in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOENT, errno.E2BIG):
        wanted = f"{least[0]}.{least[1]}"
        if kernel() < least or number == errno.ENOSYS:
            return KernelTooOld(
                f"{what} requires Linux {wanted}", feature=feature, needs=f"Linux {wanted}"
            )
        if number in (errno.ENOENT, errno.EOPNOTSUPP):
            return KernelTooOld(
                f"{what}: this kernel was built without {feature}",
                feature=feature,
                needs=f"a kernel with {feature}",
            )
    return GuardFailed(f"{what}: {error.strerror or error}")


def _not_permitted(what: str, needs: tuple[str, ...]) -> MissingCapability:
    held = effective()
    missing = [name for name in needs if name not in held and "CAP_SYS_ADMIN" not in held]
    if "CAP_NET_ADMIN" in needs and "CAP_NET_ADMIN" not in held:
        missing = [name for name in needs if name == "CAP_NET_ADMIN" or name in missing]
    if missing:
        names = " and ".join(missing)
        return MissingCapability(
            f"{what} requires {names}", capability=names, hint="run as root, or with " + names
        )
    names = f"{' and '.join(needs)} {'is' if len(needs) == 1 else 'are'} held"
    return MissingCapability(
        f"{what}: not permitted although {names}: in a user namespace,"
        " or forbidden by seccomp or a security module",
        capability=" and ".join(needs),
        hint="run in the host's own user namespace",
    )
