"""How a run ends: what was raised becomes one line, a next step, and an exit code."""

from __future__ import annotations

import errno
from collections.abc import Callable

from netkat.cli.console import complain
from netkat.errors import LocalStreamFailed, NetkatError

USAGE = 2
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE})
"""What write(2) says of a file or pipe that takes no more; print() passes it on as it is."""


def exit_code_of(run: Callable[[], object]) -> int:
    """Run a command line: its own code, or the one of what it raised."""
    from typer import Abort, TyperException

    from netkat.apps.signals import Interrupted

    try:
        code = run()
    except NetkatError as error:
        complain(error.message, error.hint)
        return error.exit_code
    except Interrupted as interrupted:
        return interrupted.exit_code
    except TyperException as error:
        _complain_of_usage(error)
        return USAGE
    except Abort:
        return 128 + 2
    except OSError as error:
        if error.errno not in _FULL:
            raise
        return unwritten(error)
    return code if isinstance(code, int) else 0


def unwritten(error: OSError) -> int:
    """What a command printed did not arrive: say so. A reader that went away is no fault."""
    if error.errno == errno.EPIPE:
        return 0
    complain(f"cannot write standard output: {error.strerror}", LocalStreamFailed.hint)
    return LocalStreamFailed.exit_code


def _complain_of_usage(error: Exception) -> None:
    context = getattr(error, "ctx", None)
    if context is not None and context.parent is not None:
        from netkat.cli.absent import instead

        option = getattr(error, "option_name", None)
        words = instead(option, context.command.name, context.parent.command)
        if words is not None:
            complain(*words)
            return
    path = context.command_path if context is not None else "netkat"
    complain(error.format_message().rstrip("."), f"{path} --help")  # type: ignore[attr-defined]
