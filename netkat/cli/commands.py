"""The sub-commands, put together."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from typer.main import get_command

from netkat._version import GVISOR, __version__
from netkat.cli import clean, completion, connect, demo, doctor, listen, sniff
from netkat.cli.exits import exit_code_of
from netkat.cli.grammar import NetcatGroup, PlainCommand

app = typer.Typer(
    cls=NetcatGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        print(f"netkat {__version__}")
        print(f"gVisor {GVISOR}")
        system = os.uname()
        print(f"{system.sysname} {system.release} {system.machine}")
        raise typer.Exit


@app.callback(epilog="netkat COMMAND --help says more about a command.")
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show the versions of netkat, gVisor and the kernel and exit.",
            is_eager=True,
            callback=_version,
        ),
    ] = False,
) -> None:
    """netcat without the host in the way: TCP and UDP that no rule of this host touches."""


app.command(cls=PlainCommand)(connect.connect)
app.command(cls=PlainCommand)(listen.listen)
app.command(cls=PlainCommand)(doctor.doctor)
app.command(cls=PlainCommand)(clean.clean)
app.command(cls=PlainCommand)(demo.demo)
app.command(cls=sniff.SniffCommand)(sniff.sniff)
app.command(cls=PlainCommand)(completion.completion)


def run(arguments: list[str]) -> int:
    """Run a command line; its exit code."""
    command = get_command(app)
    return exit_code_of(lambda: command.main(arguments, prog_name="netkat", standalone_mode=False))
