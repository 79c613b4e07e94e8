"""Capabilities(7) of the calling thread: what it has, what it lacks, and giving them all up.

They belong to threads, not to the process: a thread that runs already keeps
what it had. So drop_all() comes before the Go library is loaded.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection

from netkat.errors import MissingCapability, SetupError

_IN_ORDER = (
    "CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID"
    " CAP_SETUID CAP_SETPCAP CAP_LINUX_IMMUTABLE CAP_NET_BIND_SERVICE CAP_NET_BROADCAST"
    " CAP_NET_ADMIN CAP_NET_RAW CAP_IPC_LOCK CAP_IPC_OWNER CAP_SYS_MODULE CAP_SYS_RAWIO"
    " CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_PACCT CAP_SYS_ADMIN CAP_SYS_BOOT CAP_SYS_NICE"
    " CAP_SYS_RESOURCE CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_MKNOD CAP_LEASE CAP_AUDIT_WRITE"
    " CAP_AUDIT_CONTROL CAP_SETFCAP CAP_MAC_OVERRIDE CAP_MAC_ADMIN CAP_SYSLOG CAP_WAKE_ALARM"
    " CAP_BLOCK_SUSPEND CAP_AUDIT_READ CAP_PERFMON CAP_BPF CAP_CHECKPOINT_RESTORE"
)
NAMES = tuple(_IN_ORDER.split())
"""By number (linux/capability.h)."""

_PR_CAPBSET_READ, _PR_CAPBSET_DROP = 23, 24
_PR_SET_SECUREBITS, _PR_SET_NO_NEW_PRIVS = 28, 38
_PR_GET_NO_NEW_PRIVS = 39
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_IS_SET, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 1, 4
_SECBITS_LOCKED = 0x01 | 0x02 | 0x04 | 0x08 | 0x20 | 0x40 | 0x80
"""NOROOT, NO_SETUID_FIXUP and NO_CAP_AMBIENT_RAISE with their locks, and KEEP_CAPS locked at
off: uid 0 is worth nothing any more to what is executed later (linux/securebits.h)."""

_CAPABILITY_VERSION_3 = 0x20080522


def held() -> frozenset[str]:
    """The calling thread's effective capabilities, by name ("CAP_NET_RAW")."""
    return _names(_sets()["CapEff"])


def missing(*names: str) -> list[str]:
    """Those of ``names`` that the calling thread does not have."""
    have = held()
    return [name for name in names if name not in have]


def require(*names: str) -> None:
    """Errors: MissingCapability, with the line to run instead."""
    lacking = missing(*names)
    if lacking:
        from netkat.host.capability_hints import capability_hint

        verb = "is" if len(lacking) == 1 else "are"
        raise MissingCapability(
            f"{' and '.join(lacking)} {verb} missing",
            capability=lacking[0],
            hint=capability_hint(),
        )


def drop_all(*, but: Collection[str] = ()) -> None:
    """Give up every capability of the calling thread, for good, and set no_new_privs.

    Those named in ``but`` stay, effective and permitted, where they are held.
    Effective, permitted, inheritable and ambient always; the bounding set and the
    securebits where CAP_SETPCAP allows (without it no_new_privs alone keeps later
    programs from getting any back).
    Errors: SetupError when some are still there afterwards.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def prctl(*arguments: int) -> None:
        # Every argument is an unsigned long of a variadic function.
        words = [ctypes.c_ulong(word) for word in (*arguments, 0, 0, 0, 0)[:5]]
        if libc.prctl(*words) and ctypes.get_errno() not in (errno.EPERM, errno.EINVAL):
            raise SetupError(f"prctl {arguments}: {os.strerror(ctypes.get_errno())}")

    # The first two want CAP_SETPCAP, so before it goes.
    prctl(_PR_SET_SECUREBITS, _SECBITS_LOCKED)
    kept = sum(1 << NAMES.index(name) for name in set(but) & held())
    for number in range(_last_capability() + 1):
        if not kept >> number & 1:
            prctl(_PR_CAPBSET_DROP, number)
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    # struct __user_cap_data_struct: effective, permitted, inheritable; low words first.
    if libc.capset(header, (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)):
        raise SetupError(f"capset: {os.strerror(ctypes.get_errno())}")
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _verify(kept)


def _verify(allowed: int) -> None:
    sets = _sets()
    kept = [name for name in ("CapInh", "CapAmb") if sets.get(name)]
    kept += [name for name in ("CapPrm", "CapEff") if sets.get(name, 0) & ~allowed]
    if kept or not sets.get("NoNewPrivs"):
        raise SetupError(f"capabilities are still held after dropping them: {' '.join(kept)}")


def _sets() -> dict[str, int]:
    """The thread's sets as /proc/thread-self/status names them. /proc may be hidden."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()
    if libc.capget(header, data):
        raise SetupError(f"capget: {os.strerror(ctypes.get_errno())}")
    effective, permitted, inheritable = (data[i] | data[i + 3] << 32 for i in range(3))
    ambient = sum(
        1 << number
        for number in range(len(NAMES))
        if libc.prctl(_PR_CAP_AMBIENT, *map(ctypes.c_ulong, (_PR_CAP_AMBIENT_IS_SET, number, 0, 0)))
        == 1
    )
    return {
        "CapEff": effective,
        "CapPrm": permitted,
        "CapInh": inheritable,
        "CapAmb": ambient,
        "NoNewPrivs": libc.prctl(_PR_GET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (0, 0, 0, 0))),
    }


def _names(mask: int) -> frozenset[str]:
    count = max(len(NAMES), mask.bit_length())
    return frozenset(
        NAMES[number] if number < len(NAMES) else f"CAP_{number}"
        for number in range(count)
        if mask >> number & 1
    )


def _last_capability() -> int:
    try:
        with open("/proc/sys/kernel/cap_last_cap", encoding="utf-8") as number:
            return int(number.read())
    except OSError:
        return len(NAMES) - 1
