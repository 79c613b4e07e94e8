"""Room in the process's table of descriptors, made while that costs nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource

ENOUGH = 1024
"""A connection holds a descriptor, that of its port."""


def make_room() -> None:
    """Have the kernel make the table large, in a process of one thread.

    With several it waits for every processor each time that the table grows (fs/file.c,
    expand_fdtable: synchronize_rcu), to 128, 256, 512 descriptors: milliseconds each.
    """
    with contextlib.suppress(OSError):
        threads = os.open("/proc/self/task", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(threads).st_nlink > 3:  # one, "." and ".."
                return
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            most = ENOUGH if limit == resource.RLIM_INFINITY else min(ENOUGH, limit)
            os.close(fcntl.fcntl(threads, fcntl.F_DUPFD_CLOEXEC, most - 1))
        finally:
            os.close(threads)
