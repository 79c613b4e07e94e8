"""The subcommands: each is imported and built on first use."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Any

import typer
from typer.main import get_command

from netkat.cli.dispatch import NetcatGroup, PlainCommand
from netkat.cli.exit_codes import exit_code_of
from netkat.cli.options_shared import Version

_NAMES = ("connect", "listen", "why", "doctor", "clean", "demo", "sniff", "completion")
"""Also the names of their modules, and of the functions in them."""


class _Commands(MutableMapping[str, Any]):
    """Commands by name, built on first use: all together take longer than a connection."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made and name in _NAMES:
            self._made[name] = _built(name)
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        raise TypeError("commands cannot be removed")

    def __contains__(self, name: object) -> bool:
        return name in _NAMES

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)


def _built(name: str) -> Any:
    module = import_module(f"netkat.cli.{name}")
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    kind = module.SniffCommand if name == "sniff" else PlainCommand
    alone.command(name, cls=kind)(getattr(module, name))
    return get_command(alone)


class _Group(NetcatGroup):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = _Commands()


app = typer.Typer(
    cls=_Group,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(epilog="Run 'netkat COMMAND --help' for more information on a command.")
def _root(
    version: Version = False,
) -> None:
    """Make TCP and UDP connections that bypass this host's firewall, NAT and socket hooks."""


def run(arguments: list[str]) -> int:
    """Run a command line; return its exit code."""
    command = get_command(app)
    return exit_code_of(lambda: command.main(arguments, prog_name="netkat", standalone_mode=False))
