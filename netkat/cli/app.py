"""Entry point of the ``netkat`` command: signals, descriptors, exit code."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import sys
from typing import NoReturn

from netkat.cli.console import fill_standard_descriptors
from netkat.commands.inherited import reset_signals

_OBJECTS = 50_000
"""Threshold of the garbage collector. Start-up allocates 30,000 long-lived objects; the default
threshold scans them 45 times (10 % of start-up)."""


def main() -> NoReturn:
    """Run the command line in sys.argv and exit with its code."""
    # Until a command takes signals over, Ctrl-C during the imports should end
    # quietly, not with a traceback. One that is ignored stays ignored (sh's &).
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    reset_signals()
    if sys.argv[1:2] == ["sniff"]:
        # SIGUSR1 and SIGUSR2 ask a capture for counts and a flush; before it starts they are early.
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
    fill_standard_descriptors()
    gc.set_threshold(_OBJECTS)

    try:
        from netkat.cli.command_group import run  # typer: 60 ms
        from netkat.cli.exit_codes import stdout_write_error
    except (OSError, ImportError, MemoryError) as error:
        # Not one descriptor or page is left: nothing more can be imported for a better message.
        os.write(2, f"netkat: cannot start on the local host [{_reason(error)}]\n".encode())
        os.write(2, b"  next: check the limits of the process: ulimit -n -v\n")
        os._exit(2)
    code = run(sys.argv[1:])
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        code = code or stdout_write_error(error)
    with contextlib.suppress(OSError):  # nobody reads any more
        if sys.stderr is not None:
            sys.stderr.flush()
    # Everything has been taken down by now. A thread in a write that nobody takes
    # cannot be joined, and the interpreter's own end would free memory under it.
    os._exit(code)


def _reason(error: Exception) -> str:
    """What the local host ran out of, without the path of the module that was being loaded."""
    if isinstance(error, MemoryError):
        return os.strerror(errno.ENOMEM)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    none_left = os.strerror(errno.EMFILE)
    return none_left if none_left in str(error) else str(error)
