"""How a run ends: what was raised becomes one line, a next step, and an exit code."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable

from netkat.cli.console import complain
from netkat.errors import LocalStreamFailed, NetkatError, OutOfMemory
from netkat.system_calls import describe, system_error, thread_error

_log = logging.getLogger(__name__)

USAGE = 2
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE})
"""What write(2) says of a file or pipe that takes no more; print() passes it on as it is."""


class InternalError(NetkatError):
    """A fault of netkat itself."""

    hint = "run it again with -vv, and report what it prints"
    exit_code = 2


def exit_code_of(run: Callable[[], object]) -> int:
    """Run a command line: its own code, or the one of what it raised."""
    from typer import Abort, TyperException

    from netkat.commands.signals import Interrupted

    try:
        code = run()
    except NetkatError as error:
        return _report(error)
    except Interrupted as interrupted:
        return interrupted.exit_code
    except TyperException as error:
        _complain_of_usage(error)
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
    """The error that a user can act on, of one that netkat itself did not expect."""
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
    complain(error.message, error.hint)
    return error.exit_code


def stdout_write_error(error: OSError) -> int:
    """What a command printed did not arrive: say so. A reader that went away is no fault."""
    if error.errno == errno.EPIPE:
        return 0
    complain(f"cannot write standard output: {error.strerror}", LocalStreamFailed.hint)
    return LocalStreamFailed.exit_code


def _complain_of_usage(error: Exception) -> None:
    context = getattr(error, "ctx", None)
    if context is not None and context.parent is not None:
        from netkat.cli.unsupported import replacement_for

        option = getattr(error, "option_name", None)
        words = replacement_for(option, context.command.name, context.parent.command)
        if words is not None:
            complain(*words)
            return
    path = context.command_path if context is not None else "netkat"
    complain(error.format_message().rstrip("."), f"{path} --help")  # type: ignore[attr-defined]
