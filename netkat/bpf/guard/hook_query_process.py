"""A process that queries the kernel's hooks after netkat has dropped its capabilities.

Listing the programs on a tcx hook requires CAP_NET_ADMIN (kernel/bpf/syscall.c), which the
command has dropped when a guard fails. So a child forked before keeps that capability and
nothing else: no descriptor but its channel, no Go, no files. It ends with its parent, however
the parent ends.

A fork costs 2 ms where another interpreter costs 20. It is safe: before the library is
loaded there are no Go threads.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
from collections.abc import Callable
from typing import NoReturn

from netkat.bpf.guard.guard_netns import NetnsHandle
from netkat.bpf.guard.restrict_process import restrict_process

_ERRNO = struct.Struct("=I")
_TIMEOUT = 2
"""Seconds for an answer."""
_MAX_ANSWER = 1 << 12
"""Bytes; a longer answer is cut."""


class HookQueryProcess:
    """Runs ``query`` in a child process, inside ``namespace``. Errors: OSError."""

    def __init__(self, namespace: NetnsHandle, query: Callable[[], bytes]) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(_TIMEOUT)

        def split() -> int:
            child = os.fork()
            if not child:
                _serve(theirs.fileno(), query)
            return child

        try:
            self._pid = namespace.call(split)
        except OSError:
            self._channel.close()
            raise
        finally:
            theirs.close()

    def ask(self) -> bytes:
        """Return what query() returns in the child. Errors: OSError, also query()'s own."""
        self._channel.send(b"?")
        answer = self._channel.recv(_MAX_ANSWER)
        if not answer:
            raise OSError(errno.EPIPE, "the hook query process has ended")
        (number,) = _ERRNO.unpack_from(answer)
        if number:
            raise OSError(number, os.strerror(number))
        return answer[_ERRNO.size :]

    def stop(self) -> None:
        """Make the child exit, without waiting for it; close() must follow."""
        self._channel.close()

    def close(self) -> None:
        """End the child. Idempotent."""
        self.stop()
        if self._pid:
            os.waitpid(self._pid, 0)
            self._pid = 0


def _serve(channel: int, query: Callable[[], bytes]) -> NoReturn:
    """Run the child: never return, flush the parent's buffers or raise into its code."""
    try:
        signal.set_wakeup_fd(-1)
        os.closerange(0, channel)
        os.closerange(channel + 1, os.sysconf("SC_OPEN_MAX"))
        os.chdir("/")
        restrict_process("netkat-hooks")
        with socket.socket(fileno=channel) as theirs:
            while theirs.recv(1):
                try:
                    answer = _ERRNO.pack(0) + query()
                except OSError as error:
                    answer = _ERRNO.pack(error.errno or errno.EIO)
                theirs.send(answer[:_MAX_ANSWER])
    finally:
        os._exit(0)
