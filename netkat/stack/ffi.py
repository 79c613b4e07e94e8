"""libgostack through cffi: loaded once, checked, and its codes turned into exceptions."""

from __future__ import annotations

import enum
import errno
import os
from pathlib import Path
from typing import Any, NewType, Protocol, cast

from netkat.errors import LibraryMismatch, LibraryMissing, NetkatError

CData = Any
"""A cffi object: it has no type of its own that Python could check."""

StackHandle = NewType("StackHandle", int)
EndpointHandle = NewType("EndpointHandle", int)

LIBRARY = Path(__file__).with_name("libgostack.so")
BUILD = "python3 build.py build"


class Code(enum.IntEnum):
    """gostack.h's GS_E codes."""

    AGAIN = -1
    BAD_HANDLE = -2
    INVALID = -3
    REFUSED = -4
    RESET = -5
    TIMEOUT = -6
    UNREACHABLE = -7
    NEXT_HOP = -8
    PIPE = -9
    MESSAGE_SIZE = -10
    IN_USE = -11
    NOT_CONNECTED = -12
    NO_MEMORY = -13
    FAULT = -14


class StackError(NetkatError, OSError):
    """What the stack itself says, by ``code``; the engine tells it with what the wire saw."""

    def __init__(self, code: Code, words: str) -> None:
        super().__init__(words)
        self.code = code
        self.errno = _ERRNO.get(code, errno.EIO)


_ERRNO = {
    Code.BAD_HANDLE: errno.EBADF,
    Code.INVALID: errno.EINVAL,
    Code.REFUSED: errno.ECONNREFUSED,
    Code.RESET: errno.ECONNRESET,
    Code.TIMEOUT: errno.ETIMEDOUT,
    Code.UNREACHABLE: errno.EHOSTUNREACH,
    Code.NEXT_HOP: errno.EHOSTUNREACH,
    Code.MESSAGE_SIZE: errno.EMSGSIZE,
    Code.IN_USE: errno.EADDRINUSE,
    Code.NOT_CONNECTED: errno.ENOTCONN,
    Code.NO_MEMORY: errno.ENOBUFS,
}


class Library(Protocol):
    """The exports of gostack.h that are used, with their Python types."""

    def gs_abi(self) -> int: ...
    def gs_live_handles(self) -> int: ...
    def gs_stack_new(self, link: CData) -> int: ...
    def gs_stack_close(self, stack: StackHandle) -> int: ...
    def gs_address_add(self, stack: StackHandle, version: int, address: CData) -> int: ...
    def gs_route_add(
        self, stack: StackHandle, version: int, network: CData, prefix: int, gateway: CData
    ) -> int: ...
    def gs_neighbor_add(
        self, stack: StackHandle, version: int, address: CData, mac: CData
    ) -> int: ...
    def gs_stack_statistics(self, stack: StackHandle, out: CData) -> int: ...
    def gs_outgoing_fd(self, stack: StackHandle) -> int: ...
    def gs_arm(self, stack: StackHandle, batch: CData, n: int) -> int: ...
    def gs_inject(self, stack: StackHandle, batch: CData, n: int) -> int: ...
    def gs_drain(self, stack: StackHandle, batch: CData, n: int) -> int: ...
    def gs_connect(
        self,
        stack: StackHandle,
        protocol: int,
        version: int,
        local: CData,
        local_port: int,
        remote: CData,
        remote_port: int,
    ) -> int: ...
    def gs_connect_result(self, endpoint: EndpointHandle) -> int: ...
    def gs_bind(self, stack: StackHandle, version: int, local: CData, port: int) -> int: ...
    def gs_listen(
        self, stack: StackHandle, version: int, local: CData, port: int, backlog: int
    ) -> int: ...
    def gs_accept(self, listener: EndpointHandle, remote: CData, port: CData) -> int: ...
    def gs_readable_fd(self, endpoint: EndpointHandle) -> int: ...
    def gs_writable_fd(self, endpoint: EndpointHandle) -> int: ...
    def gs_recv(self, endpoint: EndpointHandle, buffer: CData, n: int) -> int: ...
    def gs_recv_from(
        self,
        endpoint: EndpointHandle,
        buffer: CData,
        n: int,
        full: CData,
        remote: CData,
        port: CData,
    ) -> int: ...
    def gs_send(self, endpoint: EndpointHandle, buffer: CData, n: int) -> int: ...
    def gs_send_to(
        self,
        endpoint: EndpointHandle,
        buffer: CData,
        n: int,
        version: int,
        remote: CData,
        port: int,
    ) -> int: ...
    def gs_shutdown(self, endpoint: EndpointHandle, how: int) -> int: ...
    def gs_close(self, endpoint: EndpointHandle) -> int: ...
    def gs_abort(self, endpoint: EndpointHandle) -> int: ...
    def gs_endpoint_info(self, endpoint: EndpointHandle, out: CData) -> int: ...
    def gs_option_set(self, endpoint: EndpointHandle, option: int, value: int) -> int: ...
    def gs_option_get(self, endpoint: EndpointHandle, option: int) -> int: ...
    def gs_observe(
        self,
        stack: StackHandle,
        protocol: int,
        version: int,
        local: CData,
        local_port: int,
        remote: CData,
        remote_port: int,
        out: CData,
    ) -> int: ...


class Ffi(Protocol):
    """What is used of cffi's FFI object."""

    NULL: CData

    def new(self, kind: str, init: object = ...) -> CData: ...
    def from_buffer(self, data: object) -> CData: ...
    def buffer(self, data: CData, size: int = ...) -> Any: ...


def _load() -> tuple[Ffi, Library]:
    try:
        from netkat.stack import _gostack
    except ImportError as error:
        if error.name not in (None, "netkat.stack._gostack"):
            raise
        raise LibraryMissing("netkat/stack/_gostack.py is not built", hint=BUILD) from None
    try:
        library = _gostack.ffi.dlopen(str(LIBRARY))
        abi = library.gs_abi()
    except (OSError, AttributeError) as error:
        if not LIBRARY.exists():
            raise LibraryMissing(f"{LIBRARY.name} is not built", hint=BUILD) from None
        raise LibraryMismatch(f"{LIBRARY.name} cannot be loaded: {error}", hint=BUILD) from None
    if abi != library.GS_ABI:
        raise LibraryMismatch(
            f"{LIBRARY.name} speaks ABI {abi}, this netkat speaks {library.GS_ABI}", hint=BUILD
        )
    return cast(Ffi, _gostack.ffi), cast(Library, library)


ffi, lib = _load()
_pid = os.getpid()


def check(result: int) -> int:
    """The result of a call, or the exception that its code stands for.

    Errors: BlockingIOError (GS_EAGAIN), BrokenPipeError (GS_EPIPE), StackError.
    """
    if result >= 0:
        return result
    code = Code(result)
    if code is Code.AGAIN:
        raise BlockingIOError(errno.EAGAIN, "the operation would wait")
    if code is Code.PIPE:
        raise BrokenPipeError(errno.EPIPE, "the write side is shut down")
    raise StackError(code, _words(code))


def check_process() -> None:
    """Refuse to go on in a forked child: the Go runtime has lost its threads there."""
    if os.getpid() != _pid:
        raise StackError(
            Code.FAULT,
            "netkat cannot be used in a forked child: start the child by exec (subprocess, spawn)",
        )


def live_handles() -> int:
    """Stacks and endpoints that are open in the library, of the whole process."""
    return lib.gs_live_handles()


def _words(code: Code) -> str:
    return f"the stack says {code.name.lower().replace('_', ' ')}"
