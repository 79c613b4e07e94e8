"""Restrict a process that keeps a capability after netkat has dropped its own."""

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
    """Rename the process (15 characters at most) and keep only CAP_NET_ADMIN, permanently.

    Signals from the terminal are ignored: this process ends when netkat ends.
    Errors: OSError (EPERM: the capability is missing).
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
