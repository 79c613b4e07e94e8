"""How a run ends: what was raised becomes one line, a next step, and an exit code."""

from __future__ import annotations

from collections.abc import Callable

from netkat.cli.absent import instead
from netkat.cli.console import complain
from netkat.errors import NetkatError

USAGE = 2


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
    return code if isinstance(code, int) else 0


def _complain_of_usage(error: Exception) -> None:
    context = getattr(error, "ctx", None)
    if context is not None and context.parent is not None:
        option = getattr(error, "option_name", None)
        words = instead(option, context.command.name, context.parent.command)
        if words is not None:
            complain(*words)
            return
    path = context.command_path if context is not None else "netkat"
    complain(error.format_message().rstrip("."), f"{path} --help")  # type: ignore[attr-defined]
