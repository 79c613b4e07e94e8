"""libc through cffi, typed: the calls that move frames in batches, and a timer descriptor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from netkat.errors import LibraryMissing

if TYPE_CHECKING:
    from typing_extensions import Buffer

try:
    from netkat.wire import _libc
except ImportError as error:
    if error.name not in (None, "netkat.wire._libc"):
        raise
    raise LibraryMissing(
        "netkat/wire/_libc.py is not built", hint="build it: python3 build.py build"
    ) from None

CData = Any
"""A cffi object: it has no type of its own that Python could check."""


class LibcFfi(Protocol):
    """What is used of cffi's FFI object."""

    NULL: CData
    errno: int

    def new(self, kind: str, init: object = ...) -> CData: ...
    def buffer(self, data: CData, size: int) -> Buffer: ...
    def memmove(self, to: CData, source: CData | Buffer, n: int) -> None: ...


class Libc(Protocol):
    """What is used of libc; each call returns -1 and sets ffi.errno where it fails."""

    def recvmmsg(self, fd: int, messages: CData, n: int, flags: int, timeout: CData) -> int: ...
    def sendmmsg(self, fd: int, messages: CData, n: int, flags: int) -> int: ...
    def timerfd_create(self, clock: int, flags: int) -> int: ...
    def timerfd_settime(self, fd: int, flags: int, fresh: CData, old: CData) -> int: ...


ffi = cast(LibcFfi, _libc.ffi)
libc = cast(Libc, _libc.ffi.dlopen(None))
