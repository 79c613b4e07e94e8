"""Usage errors of the option parser as netkat's messages."""

from __future__ import annotations

import re
from typing import Any

from netkat.cli.unsupported import replacement_for

_LARGEST_DISTANCE = 2
"""Edits between a mistyped option and one that is suggested for it; fewer for short names."""

_EXTRA = re.compile(r"Got unexpected extra argument(?:s|\(s\))? \((.*)\)")
_NO_VALUE = re.compile(r"Option '(.*)' requires an argument")


def describe_usage_error(error: Any) -> tuple[str, str | None]:
    """Return the message and hint for an exception of the option parser."""
    context = getattr(error, "ctx", None)
    option = getattr(error, "option_name", None)
    if context is not None and context.parent is not None:
        known = replacement_for(option, context.command.name, context.parent.command)
        if known is not None:
            return known
    path = context.command_path if context is not None else "netkat"
    hint = f"see: {path} --help"
    if type(error).__name__ == "NoSuchOption":
        close = _similar_options(str(option), context)
        return f"unknown option {option}", f"use {' or '.join(close)}" if close else hint
    if type(error).__name__ == "MissingParameter":
        name = str(error.param.name) if error.param is not None else "argument"
        return f"no {_NAMES.get(name, name)} given", hint
    message = error.format_message().rstrip(".")
    if found := _EXTRA.fullmatch(message):
        return f"too many arguments: {found[1]}", hint
    if found := _NO_VALUE.fullmatch(message):
        return f"{found[1]} requires an argument", hint
    return message, hint


_NAMES = {"host": "host", "ports": "port", "where": "port", "shell": "shell"}
"""What a missing argument is called in a message."""


def _similar_options(option: str, context: Any) -> list[str]:
    """Return the long options that differ from ``option`` by at most two edits."""
    if context is None or not option.startswith("--"):
        return []
    most = min(_LARGEST_DISTANCE, (len(option) - 2) // 3)
    names = [name for parameter in context.command.params for name in parameter.opts]
    return sorted(
        name for name in names if name.startswith("--") and _distance(option, name) <= most
    )


def _distance(one: str, other: str) -> int:
    """Return the Levenshtein distance."""
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        before, row = row, [at]
        for column, against in enumerate(other, 1):
            row.append(
                min(row[-1] + 1, before[column] + 1, before[column - 1] + (letter != against))
            )
    return row[-1]
