"""Options of connect and listen for stdin, stdout, timeouts and shutdown."""

from typing import Annotated, NamedTuple

import typer

from netkat.cli import parse
from netkat.commands.relay.relay_options import DATAGRAM_SIZE, FOR_EVER, RelayOptions
from netkat.errors import BadArgument

LARGEST_PAYLOAD = 65527
"""65535 less UDP's header; IPv4 takes 20 bytes less (RFC 768)."""


class RelayOptionGroup(NamedTuple):
    """The options as strings; options() parses them."""

    linger: Annotated[
        str | None,
        typer.Option(
            "-q",
            metavar="TIME",
            help="After EOF on stdin, wait at most TIME for the peer to close; -1 waits forever.",
            rich_help_panel="Timeouts and shutdown",
        ),
    ] = None
    idle_timeout: Annotated[
        str | None,
        typer.Option(
            "--idle-timeout",
            metavar="TIME",
            help="Close after TIME without data in either direction.",
            rich_help_panel="Timeouts and shutdown",
        ),
    ] = None
    receive_limit: Annotated[
        str | None,
        typer.Option(
            "-W",
            metavar="N",
            help="Exit after receiving N datagrams (with -u).",
            rich_help_panel="Timeouts and shutdown",
        ),
    ] = None
    no_shutdown: Annotated[
        bool,
        typer.Option(
            "--no-shutdown",
            help="Do not send FIN after EOF on stdin.",
            rich_help_panel="Timeouts and shutdown",
        ),
    ] = False
    send_only: Annotated[
        bool,
        typer.Option(
            "--send-only",
            help="Only send data, discard received data; exit at EOF on stdin.",
            rich_help_panel="Timeouts and shutdown",
        ),
    ] = False
    recv_only: Annotated[
        bool,
        typer.Option(
            "--recv-only",
            help="Only receive data; do not read stdin.",
            rich_help_panel="Timeouts and shutdown",
        ),
    ] = False
    no_stdin: Annotated[
        bool,
        typer.Option(
            "--no-stdin",
            help="Do not read stdin (nc's -d).",
            rich_help_panel="Timeouts and shutdown",
        ),
    ] = False
    interval: Annotated[
        str | None,
        typer.Option(
            "--interval",
            "--delay",
            metavar="TIME",
            help="Send line by line, waiting TIME after each line.",
            rich_help_panel="Data",
        ),
    ] = None
    datagram_size: Annotated[
        str | None,
        typer.Option(
            "--datagram-size",
            metavar="BYTES",
            help="With -u: send at most BYTES of input in a datagram (default 1400).",
            rich_help_panel="Data",
        ),
    ] = None
    crlf: Annotated[
        bool,
        typer.Option(
            "-C",
            "--crlf",
            help="Send CRLF instead of LF.",
            rich_help_panel="Data",
        ),
    ] = False
    telnet: Annotated[
        bool,
        typer.Option(
            "-t",
            "--telnet",
            help="Answer Telnet negotiation (refuse every option).",
            rich_help_panel="Data",
        ),
    ] = False
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Write session data (both directions) to FILE.",
            rich_help_panel="Data",
        ),
    ] = None
    hex_dump: Annotated[
        str | None,
        typer.Option(
            "--hex-dump",
            metavar="FILE",
            help="Write session data to FILE as a hex dump with direction marks.",
            rich_help_panel="Data",
        ),
    ] = None
    append_output: Annotated[
        bool,
        typer.Option(
            "--append-output",
            help="Append to output files instead of truncating them.",
            rich_help_panel="Data",
        ),
    ] = False
    progress: Annotated[
        bool,
        typer.Option(
            "--progress",
            help="Show transfer progress on stderr (terminal only).",
            rich_help_panel="Output",
        ),
    ] = False
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print JSON lines: one per connection on stderr; with -z one per port on stdout.",
            rich_help_panel="Output",
        ),
    ] = False
    fin: Annotated[
        bool,
        typer.Option(
            "-N",
            show_default=False,
            help="Shut down the connection after EOF on stdin (default; also for /dev/null).",
            rich_help_panel="Timeouts and shutdown",
        ),
    ] = False

    @property
    def read_stdin(self) -> bool:
        """Whether stdin is read."""
        return not (self.no_stdin or self.recv_only)

    def options(self, *, wait: str | None, udp: bool, linger: float | None = None) -> RelayOptions:
        """Parse them. ``wait`` is -w, ``linger`` the default of -q. Errors: BadArgument."""
        self._check(udp=udp)
        idle = wait if self.idle_timeout is None else self.idle_timeout
        option = "-w" if self.idle_timeout is None else "--idle-timeout"
        return RelayOptions(
            shutdown=not self.no_shutdown,
            fin_requested=self.fin,
            linger=linger if self.linger is None else _linger(self.linger),
            idle=None if idle is None else parse.seconds(idle, option),
            receive_limit=(
                None if self.receive_limit is None else parse.count(self.receive_limit, "-W")
            ),
            send_only=self.send_only,
            datagram_size=(
                DATAGRAM_SIZE if self.datagram_size is None else _datagram_size(self.datagram_size)
            ),
            interval=0.0 if self.interval is None else parse.seconds(self.interval, "--interval"),
            crlf=self.crlf,
            telnet=self.telnet,
            output=self.output,
            hex_dump=self.hex_dump,
            append=self.append_output,
            progress=self.progress,
            json=self.as_json,
        )

    def _check(self, *, udp: bool) -> None:
        if self.send_only and not self.read_stdin:
            other = "--recv-only" if self.recv_only else "--no-stdin"
            raise BadArgument(f"--send-only and {other} cannot be used together")
        if self.receive_limit is not None and not udp:
            raise BadArgument("-W requires -u")
        if self.datagram_size is not None and not udp:
            raise BadArgument("--datagram-size requires -u")
        if self.fin and self.no_shutdown:
            raise BadArgument("-N and --no-shutdown cannot be used together")
        files = [file for file in (self.output, self.hex_dump) if file is not None]
        if self.append_output and not files:
            raise BadArgument("--append-output requires -o or --hex-dump")
        if "-" in files:
            raise BadArgument(
                "-o - is not supported: stdout carries the received data", hint="name a file"
            )
        if len(files) != len(set(files)):
            raise BadArgument("-o and --hex-dump cannot share a file")
        if self.telnet and udp:
            raise BadArgument("-t cannot be used with -u: Telnet runs over TCP")


def _datagram_size(word: str) -> int:
    size = parse.count(word, "--datagram-size")
    if size > LARGEST_PAYLOAD:
        raise BadArgument(f"--datagram-size: {size} is more than {LARGEST_PAYLOAD}")
    return size


def _linger(word: str) -> float:
    if word == "-1":
        return FOR_EVER
    return 0.0 if word.strip("0") in ("", ".") else parse.seconds(word, "-q")
