"""The network namespace that a guard was created in: system calls use their thread's."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from typing import TypeVar

from netkat.bpf.bpf_syscall import Descriptor
from netkat.system_calls import system_error

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_OF_THIS_THREAD = "/proc/thread-self/ns/net"


class NetnsHandle(Descriptor):
    """This thread's network namespace. bpf(2) looks interfaces up in its caller's."""

    def __init__(self) -> None:
        try:
            descriptor = os.open(_OF_THIS_THREAD, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise system_error(error, f"open {_OF_THIS_THREAD} (openat)") from error
        super().__init__(descriptor)

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in the namespace, in another thread if this one is elsewhere.

        Errors: OSError (EPERM: entering requires CAP_SYS_ADMIN); the function's own.
        """
        if os.path.samestat(os.fstat(self.fd), os.stat(_OF_THIS_THREAD)):
            return function()
        results: list[T] = []
        errors: list[OSError] = []

        def run() -> None:
            libc = ctypes.CDLL(None, use_errno=True)
            try:
                if libc.setns(self.fd, _CLONE_NEWNET):
                    number = ctypes.get_errno()
                    raise OSError(number, f"setns: {os.strerror(number)}")
                results.append(function())
            except OSError as error:
                errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]
