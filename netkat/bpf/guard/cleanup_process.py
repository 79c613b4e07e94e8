"""A process that attaches one tc filter for netkat and removes it when netkat ends.

netkat drops its capabilities after start-up, and may be killed: then no process
could remove the filter. So this process attaches it, keeps CAP_NET_ADMIN and
nothing else, and waits on a socket whose other end is netkat's. It removes the
filter on request, or when that end closes, however netkat ended.

A message is one byte and its arguments; the reply is an errno and the kernel's text.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import sys
from typing import Final

from netkat.bpf.guard.filter_attach import FilterPlace
from netkat.bpf.guard.restrict_process import restrict_process

PROGRAM, CLASSIC, REPLACE, REMOVE = b"P", b"C", b"R", b"X"
PLACE: Final = struct.Struct("=i16s")
"""Interface and token: what PROGRAM and CLASSIC begin with."""
ANSWER: Final = struct.Struct("=i")
MAX_MESSAGE: Final = 1 << 16


class CleanupProcess:
    """Replies to netkat's messages until netkat ends."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._place: FilterPlace | None = None

    def serve(self) -> None:
        """Serve until netkat asks to remove the filter, or has ended."""
        ended = False
        while not ended:
            message, fds, _, _ = socket.recv_fds(self._channel, MAX_MESSAGE, 1)
            ended = message[:1] in (b"", REMOVE)
            try:
                self._do(message[:1], message[1:], fds)
            except OSError as error:
                answer = ANSWER.pack(error.errno or errno.EIO) + (error.strerror or "").encode()
            else:
                answer = ANSWER.pack(0)
            finally:
                for fd in fds:
                    os.close(fd)
            if message:
                with contextlib.suppress(OSError):
                    self._channel.send(answer)

    def _do(self, message: bytes, rest: bytes, fds: list[int]) -> None:
        if message in (PROGRAM, CLASSIC):
            interface, token = PLACE.unpack_from(rest)
            place = FilterPlace(interface, token.decode())
            if message == PROGRAM:
                place.put_program(fds[0])
            else:
                place.put_classic(rest[PLACE.size :])
            self._place = place
        elif message == REPLACE:
            assert self._place is not None, "attached before it is replaced"
            self._place.replace_classic(rest)
        elif self._place is not None:
            self._place.remove()


def main() -> None:
    """Run with the socket's descriptor as the only argument."""
    os.chdir("/")
    channel = socket.socket(fileno=int(sys.argv[1]))
    try:
        restrict_process("netkat-cleanup")
    except OSError as error:
        channel.send(ANSWER.pack(error.errno or errno.EPERM) + b"keeping CAP_NET_ADMIN")
        return
    channel.send(ANSWER.pack(0))
    CleanupProcess(channel).serve()
