"""What a process of netkat's that outlives the drop of capabilities may still do: little."""

from __future__ import annotations

import ctypes
import os
import signal
import struct

_CAP_NET_ADMIN = 12
_CAPABILITY_VERSION_3 = 0x20080522
_PR_SET_NAME, _PR_SET_NO_NEW_PRIVS = 15, 38
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE)


def restrict_process(name: str) -> None:
    """Be called ``name`` (15 characters at most), keep CAP_NET_ADMIN alone, for good.

    A terminal's signals are for netkat, whose end is this process's end.
    Errors: OSError (EPERM: the capability was not there to keep).
    """
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    bit = 1 << _CAP_NET_ADMIN
    # struct __user_cap_data_struct: effective, permitted, inheritable; low words first.
    if libc.capset(header, struct.pack("=6I", bit, bit, 0, 0, 0, 0)):
        refused = ctypes.get_errno()
        raise OSError(refused, os.strerror(refused))
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
