"""What connect takes about ports, and -z."""

import re
from typing import Annotated, NamedTuple

import typer

from netkat.cli import parse
from netkat.errors import BadArgument


class ScanOptionGroup(NamedTuple):
    """As they were written."""

    zero: Annotated[
        bool,
        typer.Option(
            "-z",
            "--zero",
            help="Only see which ports answer, many at once; send no data.",
            rich_help_panel="Ports (-z)",
        ),
    ] = False
    shuffle: Annotated[
        bool,
        typer.Option(
            "-r",
            show_default=False,
            help="The ports of -z in random order; the local port is random anyway.",
            rich_help_panel="Ports (-z)",
        ),
    ] = False
    require_reply: Annotated[
        bool,
        typer.Option(
            "--require-reply",
            help="Silence is a failure: exit 1 unless something came back.",
            rich_help_panel="Ports (-z)",
        ),
    ] = False

    def ports(self, words: list[str] | None) -> tuple[int | str, ...]:
        """Numbers and services' names: 80, 20-30, http, and lists of them. Errors: BadArgument."""
        if not words:
            raise BadArgument("Missing argument 'PORT'", hint="netkat HOST PORT; netkat --help")
        pieces = [piece for word in words for piece in word.split(",")]
        if not self.zero and (len(pieces) > 1 or _range(pieces[0]) is not None):
            raise BadArgument(
                f"port {' '.join(words)}: one port at a time", hint="-z asks many of them"
            )
        found: list[int | str] = []
        for piece in pieces:
            ends = _range(piece)
            if ends is None:
                port = parse.destination_port(piece)
                found.append(int(port) if port.isascii() and port.isdigit() else port)
                continue
            first, last = (int(parse.destination_port(end)) for end in ends)
            found += range(min(first, last), max(first, last) + 1)
        return tuple(found)


def _range(piece: str) -> tuple[str, str] | None:
    match = re.fullmatch(r"([0-9]+)-([0-9]+)", piece)
    return None if match is None else (match[1], match[2])
