"""What --help and the manual page are made of: a command's arguments, options and examples."""

from __future__ import annotations

from typing import Any

from netkat.cli.examples import EXAMPLES

Record = tuple[str, str]
"""An option's names and its help, as click shows them."""


def arguments_of(command: Any, ctx: Any) -> list[Record]:
    """The arguments, each as it stands in the usage line."""
    return [
        (parameter.metavar or parameter.name.upper(), parameter.help or "")
        for parameter in command.get_params(ctx)
        if parameter.param_type_name == "argument"
    ]


def panels(command: Any, ctx: Any) -> list[tuple[str, list[Record]]]:
    """The options by the panel that each names: what has none first, then by the first of each."""
    found: dict[str, list[Record]] = {}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if parameter.param_type_name == "option" and record is not None:
            panel = getattr(parameter, "rich_help_panel", None) or "Options"
            found.setdefault(panel, []).append(record)
    return sorted(found.items(), key=lambda item: item[0] != "Options")


def write_panels(
    command: Any, ctx: Any, formatter: Any, suffix: str = "", leave_out: list[Record] | None = None
) -> None:
    """A section a panel."""
    for panel, records in panels(command, ctx):
        shown = [record for record in records if record not in (leave_out or ())]
        if shown:
            with formatter.section(panel + suffix):
                formatter.write_dl(shown)


def write_examples(command: str, formatter: Any) -> None:
    """The command's examples, each on a line of its own."""
    with formatter.section("Examples"):
        for example in EXAMPLES.get(command, ()):
            formatter.write(f"  {example.line}\n      {example.what}\n")
