"""netcat's grammar on top of sub-commands: what names none is ``connect``, or ``listen``."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

from netkat.errors import BadArgument

_ROOT_OPTIONS = frozenset({"-h", "--help", "--version"})
_COMPLETION_OPTIONS = ("--install-completion", "--show-completion")


class _RawString:
    """Takes a word as it was written.

    typer converts through pydantic even where there is nothing to convert, and
    importing that takes as long as everything else before the first packet.
    """

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The word itself; an empty tuple where a list was not given."""
        if value is None and (param.multiple or param.nargs == -1):
            return ()
        return value


def _keep_raw(parameters: list[Any]) -> list[Any]:
    # Not typer's public side: where another typer has no such name, this does
    # nothing and the start is slower.
    for parameter in parameters:
        parameter._runtime_param = _RawString()
    return parameters


class PlainCommand(TyperCommand):
    """A command whose parameters stay words, flags and counts; cli.parse reads them."""

    def get_params(self, ctx: Any) -> list[Any]:
        """All of them, --help included."""
        return _keep_raw(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What stands behind the command's name."""
        from netkat.cli.help_text import arguments_of

        return ["[OPTIONS]", *(name for name, _ in arguments_of(self, ctx))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """By panel, and the arguments before them."""
        from netkat.cli.help_text import arguments_of, write_panels

        if arguments := arguments_of(self, ctx):
            with formatter.section("Arguments"):
                formatter.write_dl(arguments)
        write_panels(self, ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Examples."""
        from netkat.cli.help_text import write_examples

        write_examples(str(self.name), formatter)


class NetcatGroup(TyperGroup):
    """``netkat HOST PORT`` and ``netkat -vz HOST PORT`` are ``netkat connect …``."""

    def get_params(self, ctx: Any) -> list[Any]:
        """All of them, --help and completion included."""
        return _keep_raw(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put a command in front of what names none and no option of netkat's own."""
        if not args and not ctx.resilient_parsing:
            raise BadArgument(
                "Missing argument 'HOST'", hint="netkat HOST PORT, netkat -l PORT; netkat --help"
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
        """Whether -l is among them, alone or in a cluster (-lvk, -vlp 80), and not a value."""
        if not any(word == "--listen" or (word[:1] == "-" and "l" in word) for word in args):
            return False  # no need to build both commands for their options
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
        """Sub-commands and netkat's own options, and those of connect."""
        results = super().shell_complete(ctx, incomplete)
        if incomplete.startswith("-"):
            own = {result.value for result in results}
            connect = self.commands["connect"].shell_complete(ctx, incomplete)
            results.extend(result for result in connect if result.value not in own)
        return results

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """Both forms."""
        formatter.write_usage(ctx.command_path, "[OPTIONS] HOST PORT")
        formatter.write_usage(ctx.command_path, "COMMAND [ARGS]...", prefix="       ")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The commands, connect's options, and netkat's own."""
        from netkat.cli.help_text import panels, write_examples, write_panels

        with formatter.section("Commands"):
            # click's own would cut each off at the end of its line.
            formatter.write_dl(
                [
                    (name, (one.help or "").partition("\n\n")[0])
                    for name, one in self.commands.items()
                ]
            )
        own = [record for _, records in panels(self, ctx) for record in records]
        write_panels(self.commands["connect"], ctx, formatter, " of connect", leave_out=own)
        with formatter.section("Options"):
            formatter.write_dl(own)
        write_examples("connect", formatter)


def _is_switch(parameter: Any) -> bool:
    return bool(getattr(parameter, "is_flag", False) or getattr(parameter, "count", False))
