"""What connect and listen take about stdin, stdout and when it is over."""

from typing import Annotated, NamedTuple

import typer

from netkat.cli import parse
from netkat.commands.relay.relay_options import FOR_EVER, RelayOptions
from netkat.errors import BadArgument


class RelayOptionGroup(NamedTuple):
    """As they were written; options() reads them."""

    linger: Annotated[
        str | None,
        typer.Option(
            "-q",
            metavar="TIME",
            help="After the end of input wait TIME at most for the peer's end; -1 for ever.",
            rich_help_panel="The end",
        ),
    ] = None
    idle_timeout: Annotated[
        str | None,
        typer.Option(
            "--idle-timeout",
            metavar="TIME",
            help="End after TIME without a byte either way.",
            rich_help_panel="The end",
        ),
    ] = None
    receive_limit: Annotated[
        str | None,
        typer.Option(
            "-W",
            metavar="N",
            help="With -u: end after N datagrams from the peer.",
            rich_help_panel="The end",
        ),
    ] = None
    no_shutdown: Annotated[
        bool,
        typer.Option(
            "--no-shutdown", help="Send no FIN at the end of input.", rich_help_panel="The end"
        ),
    ] = False
    send_only: Annotated[
        bool,
        typer.Option(
            "--send-only",
            help="Send, throw away what comes, end with the input.",
            rich_help_panel="The end",
        ),
    ] = False
    recv_only: Annotated[
        bool, typer.Option("--recv-only", help="Receive, read no input.", rich_help_panel="The end")
    ] = False
    no_stdin: Annotated[
        bool,
        typer.Option("--no-stdin", help="Do not read stdin (nc's -d).", rich_help_panel="The end"),
    ] = False
    interval: Annotated[
        str | None,
        typer.Option(
            "--interval",
            "--delay",
            metavar="TIME",
            help="Send line by line, TIME between them.",
            rich_help_panel="The bytes",
        ),
    ] = None
    crlf: Annotated[
        bool,
        typer.Option(
            "-C",
            "--crlf",
            help="Send CRLF for each LF that has no CR.",
            rich_help_panel="The bytes",
        ),
    ] = False
    telnet: Annotated[
        bool,
        typer.Option(
            "-t",
            "--telnet",
            help="Answer telnet negotiation: no to everything.",
            rich_help_panel="The bytes",
        ),
    ] = False
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Copy what goes both ways to FILE.",
            rich_help_panel="The bytes",
        ),
    ] = None
    hex_dump: Annotated[
        str | None,
        typer.Option(
            "--hex-dump",
            metavar="FILE",
            help="The same, as hex with directions.",
            rich_help_panel="The bytes",
        ),
    ] = None
    append_output: Annotated[
        bool,
        typer.Option(
            "--append-output",
            help="-o and --hex-dump keep what is in FILE.",
            rich_help_panel="The bytes",
        ),
    ] = False
    progress: Annotated[
        bool,
        typer.Option(
            "--progress",
            help="Show bytes, rate, RTT on stderr, where it is a terminal.",
            rich_help_panel="Telling",
        ),
    ] = False
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="JSON on stderr, a line a connection at its end; -z: a line a port on stdout.",
            rich_help_panel="Telling",
        ),
    ] = False
    fin: Annotated[
        bool,
        typer.Option(
            "-N",
            show_default=False,
            help="Send FIN at the end of input: so it is anyway.",
            rich_help_panel="The end",
        ),
    ] = False

    @property
    def read_stdin(self) -> bool:
        """Whether there is an input at all."""
        return not (self.no_stdin or self.recv_only)

    def options(self, *, wait: str | None, udp: bool, linger: float | None = None) -> RelayOptions:
        """The values. ``wait`` is -w, ``linger`` what holds without -q. Errors: BadArgument."""
        self._check(udp=udp)
        idle = wait if self.idle_timeout is None else self.idle_timeout
        option = "-w" if self.idle_timeout is None else "--idle-timeout"
        return RelayOptions(
            shutdown=not self.no_shutdown,
            linger=linger if self.linger is None else _linger(self.linger),
            idle=None if idle is None else parse.seconds(idle, option),
            receive_limit=(
                None if self.receive_limit is None else parse.count(self.receive_limit, "-W")
            ),
            send_only=self.send_only,
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
            raise BadArgument(f"--send-only and {other} exclude each other")
        if self.receive_limit is not None and not udp:
            raise BadArgument("-W counts datagrams: -u is missing")
        if self.fin and self.no_shutdown:
            raise BadArgument("-N and --no-shutdown exclude each other")
        files = [file for file in (self.output, self.hex_dump) if file is not None]
        if self.append_output and not files:
            raise BadArgument("--append-output goes with -o or --hex-dump")
        if "-" in files:
            raise BadArgument("stdout carries the peer's bytes alone", hint="-o takes a file")
        if len(files) != len(set(files)):
            raise BadArgument("-o and --hex-dump cannot share a file")
        if self.telnet and udp:
            raise BadArgument("-t does not go with -u: telnet is spoken over TCP")


def _linger(word: str) -> float:
    if word == "-1":
        return FOR_EVER
    return 0.0 if word.strip("0") in ("", ".") else parse.seconds(word, "-q")
