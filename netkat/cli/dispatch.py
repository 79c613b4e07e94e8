"""Choose the command: without a command name it is ``connect``, or ``listen`` with -l."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

from netkat.errors import BadArgument

_ROOT_OPTIONS = frozenset({"-h", "--help", "--version"})
_MOST_USED = frozenset({"-u", "-z", "-v", "-w", "-s", "-i", "--via", "--ssl", "-e", "--json"})
"""Options of connect in the top-level help."""
_EXAMPLES = 5
"""Examples in the top-level help."""
_COMPLETION_OPTIONS = ("--install-completion", "--show-completion")


class _RawString:
    """Keeps an argument as the string that was given.

    typer converts with pydantic, whose import takes as long as the rest of start-up.
    """

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the string itself; an empty tuple for a list without values."""
        if value is None and (param.multiple or param.nargs == -1):
            return ()
        return value


def _keep_raw(parameters: list[Any]) -> list[Any]:
    # A private name of typer: without it start-up is slower, and nothing else changes.
    for parameter in parameters:
        parameter._runtime_param = _RawString()
    return parameters


class PlainCommand(TyperCommand):
    """A command whose parameters stay strings, flags and counts; cli.parse parses them."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return all parameters with --help."""
        return _keep_raw(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line after the command name."""
        from netkat.cli.help_text import arguments_of

        return ["[OPTIONS]", *(name for name, _ in arguments_of(self, ctx))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then the options by section."""
        from netkat.cli.help_text import arguments_of, write_panels

        if arguments := arguments_of(self, ctx):
            with formatter.section("Arguments"):
                formatter.write_dl(arguments)
        write_panels(self, ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        from netkat.cli.help_text import write_examples

        write_examples(str(self.name), formatter)


class NetcatGroup(TyperGroup):
    """The top level: ``netkat HOST PORT`` is ``netkat connect HOST PORT``."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return all parameters with --help and completion."""
        return _keep_raw(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the command where the arguments do not begin with one."""
        if not args and not ctx.resilient_parsing:
            raise BadArgument(
                "no host given", hint="use: netkat HOST PORT, or netkat -l PORT; see: netkat --help"
            )
        if args and not self._is_own(args):
            args = ["listen" if self._listens(args) else "connect", *args]
        return super().parse_args(ctx, args)

    def _is_own(self, args: list[str]) -> bool:
        first = args[0]
        return (
            first in self.commands
            or first in _ROOT_OPTIONS
            or first.startswith(_COMPLETION_OPTIONS)
        )

    def _listens(self, args: list[str]) -> bool:
        """Return whether -l is given, alone or combined (-lvk, -vlp 80), and is not a value."""
        if not any(word == "--listen" or (word[:1] == "-" and "l" in word) for word in args):
            return False  # avoids building both commands
        valued = self._options_with_values()
        words = iter(args)
        for word in words:
            if word == "--":
                return False
            if word == "--listen":
                return True
            if word.startswith("--"):
                if word in valued:
                    next(words, None)
            elif word.startswith("-") and len(word) > 1:
                before, listen, _ = word[1:].partition("l")
                taking = next((letter for letter in before if f"-{letter}" in valued), None)
                if taking is None and listen:
                    return True
                if taking is not None and before.index(taking) == len(word) - 2:
                    next(words, None)
        return False

    def _options_with_values(self) -> set[str]:
        return {
            name
            for command in ("connect", "listen")
            for parameter in self.commands[command].params
            if parameter.param_type_name == "option" and not _is_switch(parameter)
            for name in parameter.opts
        }

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Complete subcommands, the top-level options and those of connect."""
        results = super().shell_complete(ctx, incomplete)
        if incomplete.startswith("-"):
            own = {result.value for result in results}
            connect = self.commands["connect"].shell_complete(ctx, incomplete)
            results.extend(result for result in connect if result.value not in own)
        return results

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """Write both forms."""
        formatter.write_usage(ctx.command_path, "[OPTIONS] HOST PORT")
        formatter.write_usage(ctx.command_path, "COMMAND [ARGS]...", prefix="       ")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, the options that are used most, and examples: one screen."""
        from netkat.cli.help_text import panels, write_examples

        with formatter.section("Commands"):
            # click would truncate each at the end of its line.
            formatter.write_dl(
                [
                    (name, (one.help or "").partition("\n\n")[0])
                    for name, one in self.commands.items()
                ]
            )
        own = [record for _, records in panels(self, ctx) for record in records]
        connect = [
            record for _, records in panels(self.commands["connect"], ctx) for record in records
        ]
        with formatter.section("Options ('netkat connect --help' lists all)"):
            formatter.write_dl([*(r for r in connect if _first(r) in _MOST_USED), *own])
        write_examples("connect", formatter, _EXAMPLES)


def _first(record: tuple[str, str]) -> str:
    return record[0].partition(",")[0].partition(" ")[0]


def _is_switch(parameter: Any) -> bool:
    return bool(getattr(parameter, "is_flag", False) or getattr(parameter, "count", False))
