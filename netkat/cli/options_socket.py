"""What connect and listen take about the packets themselves: TTL, TOS, buffers, broadcast."""

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from netkat.errors import BadArgument

if TYPE_CHECKING:
    from netkat.options import SocketOptions

_PANEL = "Packets"
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
    """As they were written; options() reads them."""

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
            help="Type of service: lowdelay, af11 … cs7, ef, or the byte (0x10).",
            rich_help_panel=_PANEL,
        ),
    ] = None
    ttl: Annotated[
        str | None,
        typer.Option(
            "-M", metavar="TTL", help="TTL or hop limit of what is sent.", rich_help_panel=_PANEL
        ),
    ] = None
    min_ttl: Annotated[
        str | None,
        typer.Option(
            "-m",
            metavar="TTL",
            help="Take no packet whose TTL is lower: 255 is a neighbour's (RFC 5082).",
            rich_help_panel=_PANEL,
        ),
    ] = None
    broadcast: Annotated[
        bool,
        typer.Option(
            "-b", help="With -u: HOST may be a broadcast address.", rich_help_panel=_PANEL
        ),
    ] = False

    def options(self, *, udp: bool) -> "SocketOptions | None":
        """The values; None where nothing was asked for. Errors: BadArgument."""
        if self == SocketOptionGroup():
            return None
        if self.broadcast and not udp:
            raise BadArgument("-b is about datagrams: -u is missing")
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
    """-T: nc's words, or the byte in decimal, hex or octal. Errors: BadArgument."""
    if word.lower() in TYPES_OF_SERVICE:
        return TYPES_OF_SERVICE[word.lower()]
    try:
        number = int(word, 0)
    except ValueError:
        number = -1
    if not 0 <= number <= 255 or not word.isascii():
        raise BadArgument(
            f"-T: {word!r} is no type of service",
            hint="lowdelay, throughput, reliability, ef, af11 … af43, cs0 … cs7, or 0 to 0xff",
        )
    return number


def _number(word: str | None, option: str, least: int, most: int) -> int | None:
    if word is None:
        return None
    number = int(word) if word.isascii() and word.isdigit() and len(word) < 12 else -1
    if not least <= number <= most:
        raise BadArgument(f"{option}: {word!r} is out of range", hint=f"{least} to {most}")
    return number
