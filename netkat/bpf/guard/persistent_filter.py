"""netkat's side of the cleanup process: a tc filter that is removed when netkat ends."""

from __future__ import annotations

import errno
import logging
import os
import socket
import subprocess
import sys
import threading

from netkat.bpf.guard.cleanup_process import (
    ANSWER,
    CLASSIC,
    MAX_MESSAGE,
    PLACE,
    PROGRAM,
    REMOVE,
    REPLACE,
)
from netkat.bpf.guard.filter_attach import remove_filter
from netkat.bpf.guard.filter_owner import FilterOwner
from netkat.errors import GuardFailed
from netkat.netlink import Netlink

_START = (
    "import sys; sys.path[:] = sys.argv.pop().split(':');"
    " from netkat.bpf.guard.cleanup_process import main; main()"
)
"""What the cleanup process runs, with this process's module path: -I -S give it none, so
neither the working directory nor the environment decides what runs as root."""

_TIMEOUT = 10
"""Seconds for any answer; a cleanup process starts in some 50 ms."""

_log = logging.getLogger(__name__)


class PersistentFilter:
    """One tc filter, attached and removed by a cleanup process.

    Starts the cleanup process by exec, so it may be made when there are threads, but before
    the capabilities are dropped. Errors: the kernel's OSError, GuardFailed.
    """

    def __init__(self, interface: int, netlink: Netlink) -> None:
        self.interface = interface
        self._netlink = netlink
        self._lock = threading.Lock()
        self._owner = FilterOwner()
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(_TIMEOUT)
        try:
            self._process = _start(theirs)
        except OSError as error:
            self._channel.close()
            self._owner.close()
            raise GuardFailed(f"starting the filter's cleanup process: {error.strerror}") from None
        finally:
            theirs.close()
        try:
            self._check_reply()
        except BaseException:
            self.close()
            raise

    @property
    def token(self) -> str:
        """Return the token that the filter carries."""
        return self._owner.token

    @property
    def pid(self) -> int:
        """Return the cleanup process's number."""
        return self._process.pid

    def put_program(self, program_fd: int) -> None:
        """Attach an eBPF program, first in line."""
        socket.send_fds(self._channel, [PROGRAM + self._place()], [program_fd])
        self._check_reply()

    def put_classic(self, ops: bytes) -> None:
        """Attach a classic program, first in line."""
        self._ask(CLASSIC + self._place() + ops)

    def replace_classic(self, ops: bytes) -> None:
        """Replace the classic program in one operation."""
        self._ask(REPLACE + ops)

    def close(self) -> None:
        """Remove the filter and end the cleanup process. Idempotent."""
        if self._channel.fileno() < 0:
            return
        try:
            self._ask(REMOVE)
        except (OSError, GuardFailed):
            self._remove_here()
        self._channel.close()
        try:
            self._process.wait(_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._owner.close()

    def _remove_here(self) -> None:
        try:
            remove_filter(self._netlink, self.interface, self.token)
        except OSError as error:
            _log.warning("cannot remove the filter on interface %d: %s", self.interface, error)

    def _place(self) -> bytes:
        return PLACE.pack(self.interface, self.token.encode())

    def _ask(self, message: bytes) -> None:
        with self._lock:
            self._channel.send(message)
            self._check_reply()

    def _check_reply(self) -> None:
        try:
            answer = self._channel.recv(MAX_MESSAGE)
        except TimeoutError:
            raise GuardFailed(f"no reply from the filter's cleanup process {self.pid}") from None
        except ConnectionResetError:
            answer = b""
        if not answer:
            raise GuardFailed(f"the filter's cleanup process {self.pid} ended")
        number = ANSWER.unpack_from(answer)[0]
        if number:
            words = answer[ANSWER.size :].decode(errors="replace")
            raise OSError(number, words or os.strerror(number))


def _start(theirs: socket.socket) -> subprocess.Popen[bytes]:
    if not sys.executable:
        raise OSError(errno.ENOENT, "this program has no Python executable to run it with")
    path = ":".join(entry for entry in sys.path if os.path.isabs(entry))
    # A new session, so that a terminal's signals do not reach it. No inherited descriptors,
    # so that netkat's pipes close when netkat ends.
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _START, str(theirs.fileno()), path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
        start_new_session=True,
    )
