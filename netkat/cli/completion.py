"""``netkat completion``."""

from __future__ import annotations

from typing import Annotated

import typer

from netkat.errors import BadArgument

SHELLS = ("bash", "zsh", "fish")


def _shells(incomplete: str) -> list[str]:
    return [shell for shell in SHELLS if shell.startswith(incomplete)]


def completion(
    shell: Annotated[
        str,
        typer.Argument(
            metavar="|".join(SHELLS),
            help="Shell to generate it for.",
            show_default=False,
            autocompletion=_shells,
        ),
    ],
) -> int:
    """Print the shell completion script."""
    # typer offers this only as an option, for the current shell.
    from typer._completion_shared import get_completion_script

    if shell not in SHELLS:
        raise BadArgument(f"completion: unsupported shell {shell!r} ({', '.join(SHELLS)})")
    print(get_completion_script(prog_name="netkat", complete_var="_NETKAT_COMPLETE", shell=shell))
    return 0
