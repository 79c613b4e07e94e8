"""The stack's error codes (gostack.h, GS_E...) as exceptions."""

from __future__ import annotations

import enum
import errno
import os

from netkat.errors import LibraryPanicked, NetworkError
from netkat.system_calls import system_error


class Code(enum.IntEnum):
    """A negative result of a call. The names are short for those of gostack.h."""

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
    DETACHED = -15
    PANIC = -16


_ERRNO = {
    Code.BAD_HANDLE: (errno.EBADF, "closed"),
    Code.INVALID: (errno.EINVAL, "an argument makes no sense here"),
    Code.REFUSED: (errno.ECONNREFUSED, "connection refused"),
    Code.RESET: (errno.ECONNRESET, "connection reset by peer"),
    Code.TIMEOUT: (errno.ETIMEDOUT, "the peer stopped acknowledging"),
    Code.UNREACHABLE: (errno.EHOSTUNREACH, "unreachable"),
    Code.NEXT_HOP: (errno.EHOSTUNREACH, "the next hop did not answer"),
    Code.PIPE: (errno.EPIPE, "sending after the write side was shut down"),
    Code.MESSAGE_SIZE: (errno.EMSGSIZE, "datagram too long"),
    Code.IN_USE: (errno.EADDRINUSE, "address and port are in use in this stack"),
    Code.NOT_CONNECTED: (errno.ENOTCONN, "not connected"),
    Code.NO_MEMORY: (errno.ENOBUFS, "a queue of the stack is full"),
    Code.DETACHED: (errno.ENODEV, "the stack has no packet socket"),
    Code.FAULT: (errno.EIO, "unexpected error of the stack"),
}


class StackError(NetworkError):
    """A call of the stack failed with ``code``.

    The engine adds what was observed on the wire: see Stack.observe.
    """

    def __init__(self, code: Code) -> None:
        number, message = _ERRNO[code]
        super().__init__(message)
        self.code = code
        self.errno = number


class WriteSideShut(StackError, BrokenPipeError):
    """Sending after the write side was shut down."""


WIRE = -1000
"""gostack.h's GS_WIRE."""


SOURCE = -2000
"""gostack.h's GS_SOURCE."""


LOCAL = -3000
"""gostack.h's GS_LOCAL."""


class WouldBlock(BlockingIOError):
    """A call of the stack would wait.

    A class of its own: a signal handler may raise BlockingIOError in the middle of any call,
    and that one belongs to the caller.
    """


class WireFailed(OSError):
    """The packet socket failed for good, with this errno."""


class SourceFailed(OSError):
    """A descriptor to send from cannot be read, with this errno."""


def fault(result: int) -> Exception:
    """The exception of a negative result; an unknown one counts as Code.FAULT."""
    if result == Code.PANIC:
        from netkat.stack.ffi import last_panic

        return LibraryPanicked(last_panic())
    if result == Code.AGAIN:
        return WouldBlock(errno.EAGAIN, "the operation would wait")
    if result < LOCAL:
        error = OSError(LOCAL - result, os.strerror(LOCAL - result))
        return system_error(error, "create a descriptor (eventfd2, epoll_create1, timerfd_create)")
    if result < SOURCE:
        return SourceFailed(SOURCE - result, os.strerror(SOURCE - result))
    if result < WIRE:
        return WireFailed(WIRE - result, os.strerror(WIRE - result))
    try:
        code = Code(result)
    except ValueError:
        code = Code.FAULT
    return WriteSideShut(code) if code is Code.PIPE else StackError(code)


def check(result: int) -> int:
    """Pass a result on, or raise what it stands for."""
    if result < 0:
        raise fault(result)
    return result
