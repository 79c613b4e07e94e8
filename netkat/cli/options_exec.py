"""-e and -c: a command for the connection."""

import os
import shutil
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from netkat.errors import BadArgument, CommandFailed

if TYPE_CHECKING:
    from netkat.commands.exec_program import Program


class ExecOptionGroup(NamedTuple):
    """As they were written; command() reads them."""

    exec_program: Annotated[
        str | None,
        typer.Option(
            "-e",
            "--exec",
            metavar="PROGRAM",
            help="Run it, words and all but without a shell: its stdin and stdout are the"
            " connection. netkat ends with its exit code.",
            rich_help_panel="Commands",
        ),
    ] = None
    shell_line: Annotated[
        str | None,
        typer.Option(
            "-c",
            "--sh-exec",
            metavar="LINE",
            help="The same, by /bin/sh.",
            rich_help_panel="Commands",
        ),
    ] = None

    def command(self, *, against: dict[str, bool]) -> "Program | None":
        """What to run, if anything; not with what is true of ``against``, by options' names.

        Errors: BadArgument, CommandFailed.
        """
        if self.exec_program is None and self.shell_line is None:
            return None
        option = "-e" if self.shell_line is None else "-c"
        for other, given in against.items():
            if given:
                raise BadArgument(f"{option} and {other} exclude each other")
        from netkat.commands.exec_program import Program

        if self.exec_program is not None and self.shell_line is not None:
            raise BadArgument("-e and -c exclude each other")
        if self.shell_line is not None:
            if not self.shell_line.strip():
                raise BadArgument("-c: the line is empty")
            return Program(("/bin/sh", "-c", self.shell_line), self.shell_line)
        assert self.exec_program is not None
        return Program(_program(self.exec_program), self.exec_program)


def _program(text: str) -> tuple[str, ...]:
    """The words of -e, the first as a path that can be run."""
    import shlex

    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadArgument(f"-e: {text!r}: {error}") from None
    if not words:
        raise BadArgument("-e: the program is empty")
    found = shutil.which(words[0])
    if found is None:
        if os.path.exists(words[0]) and os.sep in words[0]:
            raise CommandFailed(f"-e: {words[0]} cannot be run: no execute permission")
        raise CommandFailed(f"-e: there is no program {words[0]!r}")
    return (found, *words[1:])
