"""Exceptions as an error message, a next step and an exit code."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable

from netkat.cli.console import print_error
from netkat.errors import LocalStreamFailed, NetkatError, OutOfMemory
from netkat.system_calls import describe, system_error, thread_error

_log = logging.getLogger(__name__)

USAGE = 2
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE})
"""Errors of write(2) when a file or pipe takes no more data."""


class InternalError(NetkatError):
    """A bug in netkat."""

    hint = "rerun with -vv and report the output"
    exit_code = 2


def exit_code_of(run: Callable[[], object]) -> int:
    """Run a command line; return its exit code, or the one of the exception."""
    from typer import Abort, TyperException

    from netkat.commands.signals import Interrupted

    try:
        code = run()
    except NetkatError as error:
        return _report(error)
    except Interrupted as interrupted:
        return interrupted.exit_code
    except TyperException as error:
        from netkat.cli.usage_errors import describe_usage_error

        print_error(*describe_usage_error(error))
        return USAGE
    except Abort:
        return 128 + 2
    except OSError as error:
        if error.errno not in _FULL:
            return _report(system_error(error, describe(error)))
        return stdout_write_error(error)
    except Exception as error:
        return _report(_typed(error))
    return code if isinstance(code, int) else 0


def _typed(error: Exception) -> NetkatError:
    """Return the error that a user can act on for an unexpected exception."""
    if isinstance(error, MemoryError):
        return OutOfMemory("no memory on the local host [MemoryError]")
    if isinstance(error, RuntimeError):
        error = thread_error(error)
    if isinstance(error, ImportError) and os.strerror(errno.EMFILE) in str(error):
        return system_error(OSError(errno.EMFILE, ""), "load a library (openat)")
    if isinstance(error, NetkatError):
        return error
    _log.debug("not expected", exc_info=error)
    return InternalError(f"internal error [{type(error).__name__}: {error}]")


def _report(error: NetkatError) -> int:
    print_error(error.message, error.hint)
    return error.exit_code


def stdout_write_error(error: OSError) -> int:
    """Report that stdout failed; a reader that closed the pipe is no error."""
    if error.errno == errno.EPIPE:
        return 0
    print_error(f"cannot write standard output: {error.strerror}", LocalStreamFailed.hint)
    return LocalStreamFailed.exit_code
