"""How a run ends: what was raised becomes one line, a next step, and an exit code."""

from __future__ import annotations

from collections.abc import Callable

from netkat.cli.console import complain
from netkat.errors import NetkatError

USAGE = 2

# Options that other netcats have and this one never will, and what to use instead.
_ABSENT = {
    "-D": "-D is not there: there is no kernel socket to debug; use -vv or --debug",
    "-F": "-F is not there: no kernel descriptor to pass; use netkat's own stdin and stdout",
    "-S": "-S is not there: the stack has no TCP MD5 signatures; use nc",
    "-U": "-U is not there: a UNIX socket sends no packets; use nc",
    "-Z": "-Z is not there: the stack has no DCCP; use nc",
    "-G": "-G is not there: routers drop source routes; --via names the next hop",
    "-g": "-g is not there: routers drop source routes; --via names the next hop",
    "--lua-exec": "--lua-exec is not there: import netkat in Python, or use -e",
    "--lua-exec-internal": "--lua-exec-internal is not there: import netkat in Python, or use -e",
    "--broker": "--broker is not there: netkat connects two ends; use ncat",
    "--chat": "--chat is not there: netkat connects two ends; use ncat",
    "--allowfile": '--allowfile is not there: use --allow "$(paste -sd, FILE)"',
    "--denyfile": '--denyfile is not there: use --deny "$(paste -sd, FILE)"',
    "--unixsock": "--unixsock is not there: a UNIX socket sends no packets; use ncat",
    "--vsock": "--vsock is not there: it sends no frames; use ncat",
    "--sctp": "--sctp is not there: the stack has no SCTP; use ncat",
}


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
    option = getattr(error, "option_name", None)
    if option in _ABSENT:
        complain(_ABSENT[option])
        return
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "netkat"
    complain(error.format_message().rstrip("."), f"{path} --help")  # type: ignore[attr-defined]
