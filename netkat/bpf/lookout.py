"""Who stands on a tcx hook, for a netkat that may no longer ask.

BPF_PROG_QUERY wants CAP_NET_ADMIN (kernel/bpf/syscall.c), which the command has
dropped by the time that a guard fails to prove itself. So a child made before
keeps that capability and nothing else: no descriptor but its channel, no Go, no
files. It answers one question and ends with its parent, however that ends.

A fork, which costs 2 ms where another interpreter costs 20: before the library
is loaded this process is Python alone.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
from collections.abc import Callable
from typing import NoReturn

from netkat.bpf.confine import confine
from netkat.bpf.namespace import Namespace

_PATIENCE = 2
"""Seconds for an answer."""
_MAX_ANSWER = 1 << 12


class Lookout:
    """Asks ``query`` in a child of its own, inside ``namespace``. Errors: OSError."""

    def __init__(self, namespace: Namespace, query: Callable[[], list[int]]) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(_PATIENCE)

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

    def ask(self) -> list[int]:
        """What query() returns there. Errors: OSError, query()'s own among them."""
        self._channel.send(b"?")
        answer = self._channel.recv(_MAX_ANSWER)
        if not answer:
            raise OSError(errno.EPIPE, "the lookout has ended")
        number, *found = struct.unpack(f"={len(answer) // 4}I", answer)
        if number:
            raise OSError(number, os.strerror(number))
        return found

    def close(self) -> None:
        """End the child; more than once is once."""
        if self._channel.fileno() >= 0:
            self._channel.close()
            os.waitpid(self._pid, 0)


def _serve(channel: int, query: Callable[[], list[int]]) -> NoReturn:
    """The child. Nothing of the parent's may be flushed, closed in order or raised into here."""
    try:
        signal.set_wakeup_fd(-1)
        os.closerange(0, channel)
        os.closerange(channel + 1, os.sysconf("SC_OPEN_MAX"))
        os.chdir("/")
        confine("netkat-lookout")
        with socket.socket(fileno=channel) as theirs:
            while theirs.recv(1):
                try:
                    found = [0, *query()]
                except OSError as error:
                    found = [error.errno or errno.EIO]
                theirs.send(struct.pack(f"={len(found)}I", *found))
    finally:
        os._exit(0)
