"""Standard input and output as they are: shared, blocking or not, a terminal, a file, gone.

O_NONBLOCK belongs to the open file that other processes share, so it is never
changed here; where somebody else has set it, that is coped with.
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
"""Seconds until a terminal in the background is asked again."""


class StopEvent:
    """Tells the threads of a relay to come back; a wait on it is a wait on its descriptor."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.is_set = False

    def set(self) -> None:
        """From now on; never taken back."""
        self.is_set = True
        os.eventfd_write(self.fd, 1)

    def wait(self, seconds: float) -> None:
        """Until it is asked, or the time is over."""
        poller = select.poll()
        poller.register(self.fd, select.POLLIN)
        poller.poll(int(seconds * 1000) + 1)

    def close(self) -> None:
        """When no thread waits on it any more."""
        os.close(self.fd)


def is_null_device(fd: int) -> bool:
    """True for /dev/null, which cron, systemd, ``ssh -n`` and a shell's ``&`` leave as stdin."""
    status = os.fstat(fd)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL_DEVICE


class Input:
    """Reads a descriptor, and can be told to stop while it waits."""

    def __init__(self, fd: int, stop: StopEvent) -> None:
        self._fd, self._stop = fd, stop
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._poll.register(stop.fd, select.POLLIN)

    @property
    def terminal(self) -> bool:
        """True where a person sits at the other end."""
        return os.isatty(self._fd)

    @property
    def fd(self) -> int:
        """The descriptor."""
        return self._fd

    @property
    def whole(self) -> bool:
        """True for a regular file or a pipe: they end once, and are read alike by anybody."""
        mode = os.fstat(self._fd).st_mode
        return stat.S_ISREG(mode) or stat.S_ISFIFO(mode)

    def wait(self) -> bool:
        """Until a read would not wait; False when told to stop."""
        self._poll.poll()
        return not self._stop.is_set

    def read_into(self, buffer: memoryview) -> int | None:
        """What one read gives: its bytes, 0 at the end, None when told to stop.

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
            # Input waits for somebody else, so the descriptor polls readable all the time.
            self._stop.wait(_BACKGROUND_RETRY)

    def _in_background(self) -> bool:
        """True where the terminal's reader is another process group (SIGTTIN is blocked)."""
        try:
            return os.tcgetpgrp(self._fd) != os.getpgrp()
        except OSError:
            return False


def unreadable(error: OSError) -> LocalStreamFailed:
    """What standard input's reader raises."""
    return LocalStreamFailed(f"cannot read standard input: {error.strerror}")


class Output:
    """Writes a descriptor whole. A blocking one blocks the thread: let it be a daemon."""

    def __init__(self, fd: int, stop: StopEvent) -> None:
        self._fd, self._stop = fd, stop

    def write(self, view: memoryview) -> None:
        """All of it, unless told to stop. Errors: BrokenPipeError, LocalStreamFailed."""
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
    """Where bytes go that nobody wants: read, so that the peer need not wait for us."""

    def write(self, view: memoryview) -> None:
        """Nothing."""
