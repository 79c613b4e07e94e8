"""The ports of connect, and -z."""

import re
from typing import Annotated, NamedTuple

import typer

from netkat.cli import parse
from netkat.errors import BadArgument


class ScanOptionGroup(NamedTuple):
    """The options as strings; ports() parses the ports."""

    zero: Annotated[
        bool,
        typer.Option(
            "-z",
            "--zero",
            help="Zero-I/O mode: report whether ports are open; send no data.",
            rich_help_panel="Port scan (-z)",
        ),
    ] = False
    shuffle: Annotated[
        bool,
        typer.Option(
            "-r",
            show_default=False,
            help="Scan ports in random order.",
            rich_help_panel="Port scan (-z)",
        ),
    ] = False
    require_reply: Annotated[
        bool,
        typer.Option(
            "--require-reply",
            help="Exit 1 unless a reply was received (UDP: no reply counts as failure).",
            rich_help_panel="Port scan (-z)",
        ),
    ] = False

    def ports(self, words: list[str] | None) -> tuple[int | str, ...]:
        """Parse port numbers, ranges, service names and lists of them. Errors: BadArgument."""
        if not words:
            raise BadArgument("no port given", hint="use: netkat HOST PORT")
        pieces = [piece for word in words for piece in word.split(",")]
        if not self.zero and (len(pieces) > 1 or _range(pieces[0]) is not None):
            raise BadArgument(
                f"port {' '.join(words)}: several ports require -z", hint="add -z to scan them"
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
