"""Standard input and output, whatever they are: shared, blocking or not, terminal or file.

O_NONBLOCK belongs to the open file, which other processes share. It is never changed here, and
both settings work.
"""

from __future__ import annotations

import errno
import os
import select
import stat

from netkat.errors import LocalStreamFailed

_NULL_DEVICE = os.makedev(1, 3)
"""Documentation/admin-guide/devices.txt."""
_BACKGROUND_RETRY = 1.0
"""Seconds between reads of a terminal while netkat is in the background."""


class StopEvent:
    """Stops the threads of a relay; they poll its descriptor."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.is_set = False

    def set(self) -> None:
        """Stop; permanent."""
        self.is_set = True
        os.eventfd_write(self.fd, 1)

    def wait(self, seconds: float) -> None:
        """Wait until it is set, or for this time."""
        poller = select.poll()
        poller.register(self.fd, select.POLLIN)
        poller.poll(int(seconds * 1000) + 1)

    def close(self) -> None:
        """Close the descriptor; no thread may wait on it."""
        os.close(self.fd)


def is_null_device(fd: int) -> bool:
    """True for /dev/null, which cron, systemd, ``ssh -n`` and a shell's ``&`` leave as stdin."""
    status = os.fstat(fd)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL_DEVICE


class Input:
    """Reads a descriptor; StopEvent ends a wait."""

    def __init__(self, fd: int, stop: StopEvent) -> None:
        self._fd, self._stop = fd, stop
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._poll.register(stop.fd, select.POLLIN)

    @property
    def terminal(self) -> bool:
        """True for a terminal."""
        return os.isatty(self._fd)

    @property
    def fd(self) -> int:
        """The descriptor."""
        return self._fd

    @property
    def whole(self) -> bool:
        """True for a regular file or a pipe: their EOF is final, and any reader can read them."""
        mode = os.fstat(self._fd).st_mode
        return stat.S_ISREG(mode) or stat.S_ISFIFO(mode)

    def wait(self) -> bool:
        """Wait until data can be read; False after a stop."""
        self._poll.poll()
        return not self._stop.is_set

    def read_into(self, buffer: memoryview) -> int | None:
        """Read once: the number of bytes, 0 at EOF, None after a stop.

        Errors: LocalStreamFailed.
        """
        while True:
            if not self.wait():
                return None
            try:
                return os.readv(self._fd, [buffer])
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno != errno.EIO or not self._in_background():
                    raise unreadable(error) from error
            # The input is for another process group, so the descriptor stays readable.
            self._stop.wait(_BACKGROUND_RETRY)

    def _in_background(self) -> bool:
        """True if the terminal's reader is another process group (SIGTTIN is blocked)."""
        try:
            return os.tcgetpgrp(self._fd) != os.getpgrp()
        except OSError:
            return False


def unreadable(error: OSError) -> LocalStreamFailed:
    """Return the error of a failed read of standard input."""
    return LocalStreamFailed(f"cannot read standard input: {error.strerror}")


class Output:
    """Writes all data to a descriptor. A blocking one blocks the thread: use a daemon thread."""

    def __init__(self, fd: int, stop: StopEvent) -> None:
        self._fd, self._stop = fd, stop

    def write(self, view: memoryview) -> None:
        """Write all data, or until a stop. Errors: BrokenPipeError, LocalStreamFailed."""
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                poller = select.poll()
                poller.register(self._fd, select.POLLOUT)
                poller.register(self._stop.fd, select.POLLIN)
                poller.poll()
                if self._stop.is_set:
                    return
            except BrokenPipeError:
                raise
            except OSError as error:
                raise LocalStreamFailed(
                    f"cannot write standard output: {error.strerror}"
                ) from error


class Discard:
    """Discards received data, so that the receive window stays open."""

    def write(self, view: memoryview) -> None:
        """Discard the data."""
