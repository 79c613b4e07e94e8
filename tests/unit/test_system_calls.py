"""A system call that the local host refuses becomes an error of its own class."""

from __future__ import annotations

import errno
import os
import resource

import pytest

from netkat.errors import (
    LocalSystemError,
    OutOfMemory,
    SystemCallDenied,
    SystemCallMissing,
    TooManyOpenFiles,
)
from netkat.system_calls import require_descriptors, system_call, system_error, thread_error

KINDS = {
    errno.EMFILE: TooManyOpenFiles,
    errno.ENFILE: TooManyOpenFiles,
    errno.ENOMEM: OutOfMemory,
    errno.EACCES: SystemCallDenied,
    errno.EPERM: SystemCallDenied,
    errno.ENOSYS: SystemCallMissing,
    errno.EIO: LocalSystemError,
}


@pytest.mark.parametrize("number", KINDS)
def test_error_keeps_its_errno_and_says_local_host(number: int) -> None:
    error = system_error(OSError(number, os.strerror(number)), "create a pipe (pipe2)")
    assert type(error) is KINDS[number]
    assert error.errno == number
    assert error.operation == "create a pipe (pipe2)"
    for part in ("create a pipe (pipe2)", "local host", os.strerror(number)):
        assert part in str(error)
    assert errno.errorcode[number] in str(error)
    assert error.hint


def test_only_refusals_of_the_local_host_are_converted() -> None:
    with pytest.raises(SystemCallDenied), system_call("bind"):
        raise PermissionError(errno.EACCES, "Permission denied")
    unchanged = TimeoutError()
    with pytest.raises(TimeoutError) as caught, system_call("bind"):
        raise unchanged
    assert caught.value is unchanged
    with pytest.raises(ConnectionRefusedError), system_call("connect"):
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


def test_missing_proc_is_named() -> None:
    error = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/proc/thread-self/ns/net")
    assert "mount -t proc" in (system_error(error, "open /proc/thread-self/ns/net").hint or "")


def test_thread_that_does_not_start() -> None:
    assert isinstance(thread_error(RuntimeError("can't start new thread")), OutOfMemory)
    other = RuntimeError("another")
    assert thread_error(other) is other


def test_too_few_descriptors_are_counted_and_closed() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = sorted(os.listdir("/proc/self/fd"))
    require_descriptors(20, "start")
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(before) + 20, limits[1]))
    try:
        with pytest.raises(TooManyOpenFiles, match=r"limit \d+\], 100 free ones are required"):
            require_descriptors(100, "start")
        require_descriptors(10, "start")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert sorted(os.listdir("/proc/self/fd")) == before
