"""Run a command with resource limits, or with system calls that the kernel denies.

    python -m tests.helpers.restricted --nofile 20 --deny sendmmsg=EACCES -- netkat 192.0.2.1 80

--nofile N      RLIMIT_NOFILE
--as BYTES      RLIMIT_AS
--nproc N       RLIMIT_NPROC: processes and threads of a user other than root
--deny CALL=ERRNO  a seccomp filter: the system call fails with the errno
--hide-proc     an empty tmpfs on /proc, in a mount namespace of its own
--ignore NAME, --block NAME  a signal that is ignored or blocked
--close N       a closed descriptor
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import platform
import resource
import signal
import struct

NUMBERS = {
    "x86_64": {
        "socket": 41, "bind": 49, "setsockopt": 54, "getsockopt": 55, "ioctl": 16, "sendto": 44,
        "sendmsg": 46, "sendmmsg": 307, "recvfrom": 45, "recvmsg": 47, "recvmmsg": 299, "bpf": 321,
        "epoll_create1": 291, "eventfd2": 290, "setns": 308, "timerfd_create": 283,
    },
    "aarch64": {
        "socket": 198, "bind": 200, "setsockopt": 208, "getsockopt": 209, "ioctl": 29,
        "sendto": 206, "sendmsg": 211, "sendmmsg": 269, "recvfrom": 207, "recvmsg": 212,
        "recvmmsg": 243, "bpf": 280, "epoll_create1": 20, "eventfd2": 19, "setns": 268,
        "timerfd_create": 85,
    },
}  # fmt: skip
"""arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h."""

CALLS = tuple(NUMBERS["x86_64"])

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_RET_ALLOW, _RET_ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
_CLONE_NEWNS, _MS_REC, _MS_PRIVATE = 0x20000, 0x4000, 0x40000


def deny(calls: dict[str, int]) -> None:
    """Have the named system calls fail with an errno each, also in programs executed later."""
    numbers = NUMBERS[platform.machine()]
    program = [(_LOAD, 0, 0, 0)]  # seccomp_data.nr
    for call, number in calls.items():
        program += [(_EQUAL, 0, 1, numbers[call]), (_RETURN, 0, 0, _RET_ERRNO | number)]
    program.append((_RETURN, 0, 0, _RET_ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in program))
    header = struct.pack("@HP", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl PR_SET_SECCOMP")


def hide_proc() -> None:
    """Mount an empty tmpfs on /proc, for this process and its children."""
    libc = ctypes.CDLL(None, use_errno=True)
    failed = (
        libc.unshare(_CLONE_NEWNS)
        or libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None)
        or libc.mount(b"none", b"/proc", b"tmpfs", 0, None)
    )
    if failed:
        raise OSError(ctypes.get_errno(), "cannot hide /proc")


def main() -> None:
    """Restrict this process as the arguments say, and execute the command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--nofile", type=int)
    parser.add_argument("--as", type=int, dest="address_space")
    parser.add_argument("--nproc", type=int)
    parser.add_argument("--deny", action="append", default=[])
    parser.add_argument("--hide-proc", action="store_true")
    parser.add_argument("--ignore", action="append", default=[])
    parser.add_argument("--block", action="append", default=[])
    parser.add_argument("--close", action="append", type=int, default=[])
    parser.add_argument("command", nargs="+")
    asked = parser.parse_args()
    calls = {}
    for one in asked.deny:
        call, _, name = one.partition("=")
        calls[call] = int(getattr(errno, name))
    if asked.hide_proc:
        hide_proc()
    if calls:
        deny(calls)
    if asked.address_space:
        resource.setrlimit(resource.RLIMIT_AS, (asked.address_space,) * 2)
    if asked.nproc:
        resource.setrlimit(resource.RLIMIT_NPROC, (asked.nproc,) * 2)
    for name in asked.ignore:
        signal.signal(signal.Signals[name], signal.SIG_IGN)
    for name in asked.block:
        # The test run may itself be a shell's background job, which ignores SIGINT and SIGQUIT.
        signal.signal(signal.Signals[name], signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.Signals[name] for name in asked.block])
    for descriptor in asked.close:
        os.close(descriptor)
    if asked.nofile:
        resource.setrlimit(resource.RLIMIT_NOFILE, (asked.nofile,) * 2)
    os.execvp(asked.command[0], asked.command)


if __name__ == "__main__":
    main()
