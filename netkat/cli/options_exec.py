"""-e and -c: a program to run for a connection."""

import os
import shutil
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from netkat.errors import BadArgument, CommandFailed

if TYPE_CHECKING:
    from netkat.commands.exec_program import Program


class ExecOptionGroup(NamedTuple):
    """The options as strings; command() parses them."""

    exec_program: Annotated[
        str | None,
        typer.Option(
            "-e",
            "--exec",
            metavar="PROGRAM",
            help="Run PROGRAM (no shell) with stdin and stdout connected to the peer;"
            " exit with its status.",
            rich_help_panel="Run a program",
        ),
    ] = None
    shell_line: Annotated[
        str | None,
        typer.Option(
            "-c",
            "--sh-exec",
            metavar="LINE",
            help="Run LINE with /bin/sh in the same way.",
            rich_help_panel="Run a program",
        ),
    ] = None

    def command(self, *, against: dict[str, bool]) -> "Program | None":
        """Return the program, or None; refuse it with the options that are true in ``against``.

        Errors: BadArgument, CommandFailed.
        """
        if self.exec_program is None and self.shell_line is None:
            return None
        option = "-e" if self.shell_line is None else "-c"
        for other, given in against.items():
            if given:
                raise BadArgument(f"{option} and {other} cannot be used together")
        from netkat.commands.exec_program import Program

        if self.exec_program is not None and self.shell_line is not None:
            raise BadArgument("-e and -c cannot be used together")
        if self.shell_line is not None:
            if not self.shell_line.strip():
                raise BadArgument("-c: empty command line")
            return Program(("/bin/sh", "-c", self.shell_line), self.shell_line)
        assert self.exec_program is not None
        return Program(_program(self.exec_program), self.exec_program)


def _program(text: str) -> tuple[str, ...]:
    """Return the arguments of -e, the first as the path of an executable."""
    import shlex

    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadArgument(f"-e: {text!r}: {error}") from None
    if not words:
        raise BadArgument("-e: no program given")
    found = shutil.which(words[0])
    if found is None:
        if os.path.exists(words[0]) and os.sep in words[0]:
            raise CommandFailed(f"-e: cannot run {words[0]}: no execute permission")
        raise CommandFailed(f"-e: no such program: {words[0]}")
    return (found, *words[1:])
