"""Socket options of connect and listen: TTL, TOS, buffers, broadcast."""

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from netkat.errors import BadArgument

if TYPE_CHECKING:
    from netkat.options import SocketOptions

_PANEL = "Socket options"
_LARGEST_BUFFER = 1 << 30

TYPES_OF_SERVICE = {
    "lowdelay": 0x10,
    "throughput": 0x08,
    "reliability": 0x04,
    "critical": 0xA0,
    "inetcontrol": 0xC0,
    "netcontrol": 0xE0,
    "ef": 0xB8,
    "va": 0xB0,
    "le": 0x04,
    **{f"cs{number}": number << 5 for number in range(8)},
    **{f"af{kind}{drop}": kind << 5 | drop << 3 for kind in range(1, 5) for drop in range(1, 4)},
}
"""nc's words for the whole byte (RFC 2474, RFC 2597, RFC 3246, RFC 5865, RFC 8622; RFC 1349)."""


class SocketOptionGroup(NamedTuple):
    """The options as strings; options() parses them."""

    receive_buffer: Annotated[
        str | None,
        typer.Option(
            "-I", metavar="LENGTH", help="Receive buffer in bytes.", rich_help_panel=_PANEL
        ),
    ] = None
    send_buffer: Annotated[
        str | None,
        typer.Option("-O", metavar="LENGTH", help="Send buffer in bytes.", rich_help_panel=_PANEL),
    ] = None
    tos: Annotated[
        str | None,
        typer.Option(
            "-T",
            metavar="TOS",
            help="Type of service: lowdelay, af11 … cs7, ef, or a number (0x10).",
            rich_help_panel=_PANEL,
        ),
    ] = None
    ttl: Annotated[
        str | None,
        typer.Option("-M", metavar="TTL", help="Outgoing TTL / hop limit.", rich_help_panel=_PANEL),
    ] = None
    min_ttl: Annotated[
        str | None,
        typer.Option(
            "-m",
            metavar="TTL",
            help="Minimum incoming TTL / hop limit (255: directly connected peers only, RFC 5082).",
            rich_help_panel=_PANEL,
        ),
    ] = None
    broadcast: Annotated[
        bool,
        typer.Option("-b", help="Allow a broadcast destination (with -u).", rich_help_panel=_PANEL),
    ] = False

    def options(self, *, udp: bool) -> "SocketOptions | None":
        """Return the socket options, or None if none is given. Errors: BadArgument."""
        if self == SocketOptionGroup():
            return None
        if self.broadcast and not udp:
            raise BadArgument("-b requires -u")
        from netkat.options import SocketOptions

        return SocketOptions(
            receive_buffer=_number(self.receive_buffer, "-I", 1, _LARGEST_BUFFER),
            send_buffer=_number(self.send_buffer, "-O", 1, _LARGEST_BUFFER),
            tos=None if self.tos is None else type_of_service(self.tos),
            ttl=_number(self.ttl, "-M", 1, 255),
            min_ttl=_number(self.min_ttl, "-m", 1, 255),
            broadcast=self.broadcast,
        )


def type_of_service(word: str) -> int:
    """Parse -T: a name of nc's, or a number (decimal, hex, octal). Errors: BadArgument."""
    if word.lower() in TYPES_OF_SERVICE:
        return TYPES_OF_SERVICE[word.lower()]
    try:
        number = int(word, 0)
    except ValueError:
        number = -1
    if not 0 <= number <= 255 or not word.isascii():
        raise BadArgument(
            f"-T: invalid type of service {word!r}",
            hint="use lowdelay, throughput, reliability, ef, af11 … af43, cs0 … cs7, or 0 to 0xff",
        )
    return number


def _number(word: str | None, option: str, least: int, most: int) -> int | None:
    if word is None:
        return None
    number = int(word) if word.isascii() and word.isdigit() and len(word) < 12 else -1
    if not least <= number <= most:
        raise BadArgument(f"{option}: {word!r} is out of range", hint=f"use {least} to {most}")
    return number
