"""Arguments, options and examples of a command, for --help and the manual page."""

from __future__ import annotations

from typing import Any

from netkat.cli.examples import EXAMPLES

HelpEntry = tuple[str, str]
"""Names and help of an option."""


def arguments_of(command: Any, ctx: Any) -> list[HelpEntry]:
    """Return the arguments with their names in the usage line."""
    return [
        (parameter.metavar or parameter.name.upper(), parameter.help or "")
        for parameter in command.get_params(ctx)
        if parameter.param_type_name == "argument"
    ]


def panels(command: Any, ctx: Any) -> list[tuple[str, list[HelpEntry]]]:
    """Return the options by section; those without a section come first."""
    found: dict[str, list[HelpEntry]] = {}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if parameter.param_type_name == "option" and record is not None:
            panel = getattr(parameter, "rich_help_panel", None) or "Options"
            found.setdefault(panel, []).append(record)
    return sorted(found.items(), key=lambda item: item[0] != "Options")


def write_panels(command: Any, ctx: Any, formatter: Any) -> None:
    """Write one section per group of options."""
    for panel, records in panels(command, ctx):
        with formatter.section(panel):
            formatter.write_dl(records)


def write_examples(command: str, formatter: Any, most: int | None = None) -> None:
    """Write the examples of the command."""
    with formatter.section("Examples"):
        for example in EXAMPLES.get(command, ())[:most]:
            formatter.write(f"  {example.line}\n      {example.what}\n")
