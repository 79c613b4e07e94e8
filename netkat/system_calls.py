"""A system call's failure as the error that says: the local host, and what to do there."""

from __future__ import annotations

import _thread
import errno
import os

# Not when it is needed: no descriptor may be left then, or a user that may not read the file.
import resource
import select
from contextlib import contextmanager
from typing import TYPE_CHECKING

from netkat.errors import (
    LocalSystemError,
    NetkatError,
    OutOfMemory,
    SystemCallDenied,
    SystemCallMissing,
    TooManyOpenFiles,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_KINDS: dict[int, tuple[type[LocalSystemError], str]] = {
    errno.EMFILE: (TooManyOpenFiles, "no free descriptors"),
    errno.ENFILE: (TooManyOpenFiles, "no free descriptors"),
    errno.ENOMEM: (OutOfMemory, "no memory"),
    errno.EACCES: (SystemCallDenied, "denied"),
    errno.EPERM: (SystemCallDenied, "denied"),
    errno.ENOSYS: (SystemCallMissing, "not available"),
}

_MAP_NORESERVE = 0x4000
"""include/uapi/asm-generic/mman-common.h. Python 3.10 has no name for it."""

_THREAD = "can't start new thread"
"""The RuntimeError of CPython's threads (Modules/_threadmodule.c)."""


def is_local(error: BaseException) -> bool:
    """True where the local host refused a system call, whatever its purpose."""
    return isinstance(error, OSError) and error.errno in _KINDS


def system_error(error: OSError, operation: str) -> LocalSystemError:
    """The typed error of a failed system call. ``operation``: a verb, its object, the call."""
    number = error.errno or 0
    kind, outcome = _KINDS.get(number, (LocalSystemError, "failed"))
    evidence = os.strerror(number) if number else str(error) or type(error).__name__
    if number in errno.errorcode:
        evidence += f", {errno.errorcode[number]}"
    if number == errno.EMFILE:
        evidence += f", limit {descriptor_limit()}"
    by = "by" if kind is SystemCallDenied else "on"
    typed = kind(
        f"{operation}: {outcome} {by} the local host [{evidence}]",
        operation=operation,
        hint=_hint(error),
    )
    typed.errno = number
    return typed


def _hint(error: OSError) -> str | None:
    if error.errno == errno.ENFILE:
        return "the whole host has none left: cat /proc/sys/fs/file-nr; sysctl fs.file-max"
    name = error.filename
    if error.errno == errno.ENOENT and isinstance(name, str) and name.startswith("/proc/"):
        return "netkat requires /proc: mount -t proc proc /proc"
    return None


def describe(error: OSError) -> str:
    """The operation of an error without one: its file, if it has one."""
    if not isinstance(error.filename, str):
        return "system call"
    if error.filename.endswith((".py", ".pyc", ".so")):
        return "load a library (openat)"
    return f"access {error.filename}"


@contextmanager
def system_call(operation: str) -> Iterator[None]:
    """Raise a system call's refusal by the local host as the typed error.

    An error of another kind, and one that is typed, passes unchanged.
    """
    try:
        yield
    except NetkatError:
        raise
    except OSError as error:
        if not is_local(error):
            raise
        raise system_error(error, operation) from error


def thread_error(error: RuntimeError) -> RuntimeError | LocalSystemError:
    """The error of a thread that does not start; the same one for another RuntimeError."""
    if str(error) != _THREAD:
        return error
    return OutOfMemory(
        "start a thread: no memory or no threads left on the local host [pthread_create, EAGAIN]",
        operation="start a thread",
    )


def descriptor_limit() -> int:
    """RLIMIT_NOFILE of this process."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def require_descriptors(count: int, operation: str) -> None:
    """Check that so many descriptors can be opened, an eventfd and an epoll among them.

    Errors: TooManyOpenFiles, and the other LocalSystemErrors.
    """
    opened: list[int] = []
    call = "eventfd2"
    try:
        opened.append(os.eventfd(0, os.EFD_CLOEXEC))
        call = "epoll_create1"
        # The object closes its own.
        with select.epoll():
            call = "dup"
            for _ in range(count - 2):
                opened.append(os.dup(opened[0]))
        return
    except OSError as error:
        refused = error
    finally:
        for descriptor in opened:
            os.close(descriptor)
    typed = system_error(refused, f"{operation} ({call})")
    if isinstance(typed, TooManyOpenFiles):
        typed.message += f", {count} free ones are required"
    raise typed


def require_threads(count: int, operation: str) -> None:
    """Check that so many threads can run at once (RLIMIT_NPROC, pids.max). Errors: OutOfMemory."""
    release = _thread.allocate_lock()
    release.acquire()
    ended = [_thread.allocate_lock() for _ in range(count)]

    def wait(own: _thread.LockType) -> None:
        with release:
            pass
        own.release()

    started: list[_thread.LockType] = []
    try:
        for own in ended:
            own.acquire()
            _thread.start_new_thread(wait, (own,))
            started.append(own)
        return
    except RuntimeError as error:
        typed = thread_error(error)
    finally:
        release.release()
        for own in started:
            own.acquire()
    if isinstance(typed, LocalSystemError):
        typed.message = (
            f"{operation} (pthread_create): no free threads on the local host"
            f" [Resource temporarily unavailable, EAGAIN, {count} free ones are required]"
        )
        typed.hint = (
            "raise the limit of processes and threads: ulimit -u; pids.max of the cgroup (TasksMax)"
        )
    raise typed


def require_address_space(size: int, operation: str) -> None:
    """Check that RLIMIT_AS leaves room for so many bytes. Errors: OutOfMemory."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return
    from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

    try:
        mmap(-1, size, flags=MAP_PRIVATE | MAP_ANONYMOUS | _MAP_NORESERVE, prot=0).close()
    except OSError as error:
        typed = system_error(error, f"{operation} (mmap)")
        typed.message += (
            f", limit {limit >> 20} MiB, {size >> 20} MiB of address space are required"
        )
        typed.hint = "raise the limit of address space: ulimit -v unlimited"
        raise typed from error
