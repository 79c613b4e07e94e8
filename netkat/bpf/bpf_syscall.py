"""bpf(2): the system call, its commands, and owners of the descriptors it returns.

Through ctypes: the standard library has it, it imports in 2.4 ms, and the call
is variadic syscall(2), which needs no C declarations. Layouts are ``union
bpf_attr`` of uapi/linux/bpf.h; all its fields have fixed sizes, so one layout
serves every machine.
"""

from __future__ import annotations

import ctypes
import enum
import errno
import os
import struct
import threading
from collections.abc import Callable
from typing import Final

from netkat import finalizers
from netkat.errors import KernelTooOld

SYSCALL_NUMBER: Final = {
    ("x86_64", 8): 321,
    ("x86_64", 4): 357,
    ("i686", 4): 357,
    ("aarch64", 8): 280,
    ("aarch64", 4): 386,
    ("armv7l", 4): 386,
    ("riscv64", 8): 280,
    ("loongarch64", 8): 280,
    ("ppc64le", 8): 361,
    ("ppc64", 8): 361,
    ("s390x", 8): 351,
}
"""By machine and pointer size, from each architecture's syscall table: a 32-bit
Python on a 64-bit kernel calls by the 32-bit table."""


class Command(enum.IntEnum):
    """``enum bpf_cmd``."""

    MAP_CREATE = 0
    MAP_LOOKUP = 1
    MAP_UPDATE = 2
    MAP_DELETE = 3
    MAP_GET_NEXT_KEY = 4
    PROG_LOAD = 5
    PROG_TEST_RUN = 10
    MAP_GET_NEXT_ID = 12
    PROG_GET_FD_BY_ID = 13
    MAP_GET_FD_BY_ID = 14
    OBJ_GET_INFO_BY_FD = 15
    PROG_QUERY = 16
    RAW_TRACEPOINT_OPEN = 17
    LINK_CREATE = 28


def syscall_number(machine: str, pointer_size: int) -> int:
    """The number of bpf(2). Errors: KernelTooOld where netkat does not know it."""
    number = SYSCALL_NUMBER.get((machine, pointer_size))
    if number is None:
        raise KernelTooOld(
            f"bpf(2) has no known number on {machine} with {pointer_size * 8}-bit Python",
            feature="bpf(2)",
            needs="x86-64 or arm64",
            hint="use the guard mode cbpf or socket",
        )
    return number


_libc: ctypes.CDLL | None = None
_number = 0


def bpf(command: Command, attributes: bytearray) -> int:
    """Call bpf(2); what the kernel writes back is in ``attributes`` afterwards.

    Errors: OSError with the kernel's errno; KernelTooOld on an unknown machine.
    """
    return _call(command, address(attributes), len(attributes))


def _call(command: Command, where: int, length: int) -> int:
    global _libc, _number
    if _libc is None:
        _number = syscall_number(os.uname().machine, struct.calcsize("P"))
        _libc = ctypes.CDLL(None, use_errno=True)
        _libc.syscall.restype = ctypes.c_long
        _libc.syscall.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint]
    result = _libc.syscall(_number, command, where, length)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"bpf {command.name}: {os.strerror(number)}")
    return int(result)


def address(buffer: bytearray) -> int:
    """Where the buffer lies in memory. The caller keeps it alive and does not resize it."""
    return ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))


class Descriptor:
    """Owns one descriptor; closing it releases the kernel object."""

    fd = -1

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        """Close. Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self, finalize: Callable[..., None] = finalizers.close_unclosed) -> None:
        if self.fd >= 0:
            finalize(self, self.close)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} fd={self.fd}>"


HASH: Final = 1
NO_PREALLOC: Final = 1
NOEXIST: Final = 1

_CREATE = struct.Struct("=5I8x16s")
_ELEMENT = struct.Struct("=I4xQQQ")


class HashMap(Descriptor):
    """A hash map of fixed-size keys and values; memory is taken as keys come."""

    def __init__(self, name: str, key_size: int, value_size: int, max_entries: int) -> None:
        attributes = _CREATE.pack(
            HASH, key_size, value_size, max_entries, NO_PREALLOC, name.encode()
        )
        super().__init__(_create_map(bytearray(attributes)))
        # Each connection asks three times: memory is laid out once, not for each call.
        self._lock = threading.Lock()
        self._key, self._value = bytearray(key_size), bytearray(value_size)
        self._where = address(self._key), address(self._value)
        self._attributes = bytearray(_ELEMENT.size)
        self._where_attributes = address(self._attributes)
        self._asking = bytearray(_ELEMENT.pack(self.fd, *self._where, 0))
        self._where_asking = address(self._asking)

    def insert(self, key: bytes, value: bytes) -> bool:
        """Add a key; False when it is there already. Errors: OSError (E2BIG: full)."""
        with self._lock:
            self._value[:] = value
            return self._element(Command.MAP_UPDATE, key, NOEXIST, unless=errno.EEXIST)

    def lookup(self, key: bytes) -> bytes | None:
        """The key's value, or None."""
        with self._lock:
            if self.fd < 0:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            self._key[:] = key
            try:
                _call(Command.MAP_LOOKUP, self._where_asking, _ELEMENT.size)
            except OSError as error:
                if error.errno == errno.ENOENT:
                    return None
                raise
            return bytes(self._value)

    def delete(self, key: bytes) -> bool:
        """Take a key out; False when it was not there."""
        with self._lock:
            return self._element(Command.MAP_DELETE, key, 0, unless=errno.ENOENT)

    def _element(self, command: Command, key: bytes, flags: int, *, unless: int) -> bool:
        self._key[:] = key
        value = 0 if command is Command.MAP_DELETE else self._where[1]
        _ELEMENT.pack_into(self._attributes, 0, self.fd, self._where[0], value, flags)
        try:
            _call(command, self._where_attributes, _ELEMENT.size)
        except OSError as error:
            if error.errno == unless:
                return False
            raise
        return True


def _create_map(attributes: bytearray) -> int:
    try:
        return bpf(Command.MAP_CREATE, attributes)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
    # Before Linux 5.11 maps count against RLIMIT_MEMLOCK, and going over it is
    # EPERM too. The limit matters at creation only, so it is put back.
    import resource

    limits = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY,) * 2)
    except (OSError, ValueError):
        return bpf(Command.MAP_CREATE, attributes)
    try:
        return bpf(Command.MAP_CREATE, attributes)
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, limits)
