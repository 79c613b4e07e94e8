"""``netkat listen``, and ``netkat -l`` as netcat's users write it."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Annotated

import typer

from netkat.cli import options_shared, parse
from netkat.cli.console import print_status, show_logs
from netkat.cli.option_groups import expand_groups
from netkat.cli.options_exec import ExecOptionGroup
from netkat.cli.options_netns import NetnsOptionGroup
from netkat.cli.options_relay import RelayOptionGroup
from netkat.cli.options_socket import SocketOptionGroup
from netkat.cli.options_tls import TlsOptionGroup
from netkat.commands.relay.relay_options import FOR_EVER
from netkat.errors import BadArgument
from netkat.flow import Protocol
from netkat.options import ListenOptions, PathOptions

if TYPE_CHECKING:
    from netkat.commands.listen.listen_request import Network

REPLIES = ("echo", "clientip", "hostname", "http")

Where = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[HOST] PORT", help="Local address or host name; port number, 0 for a free one."
    ),
]
Listen = Annotated[bool, typer.Option("-l", "--listen", hidden=True)]
Port = Annotated[str | None, typer.Option("-p", metavar="PORT", help="Local port (nc syntax).")]
Source = Annotated[
    str | None, typer.Option("-s", "--source", metavar="ADDR", help="Local address (nc syntax).")
]
KeepOpen = Annotated[
    bool,
    typer.Option(
        "-k", "--keep-open", help="Accept multiple clients at the same time; stdin is not read."
    ),
]
MaxConns = Annotated[
    str | None,
    typer.Option(
        "--max-conns",
        metavar="N",
        help="Exit after N clients in total; implies -k (ncat limits simultaneous ones).",
    ),
]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="CIDR",
        help="Allow only these clients (repeat, or separate with commas).",
    ),
]
Deny = Annotated[
    list[str] | None, typer.Option("--deny", metavar="CIDR", help="Deny these clients.")
]
Reply = Annotated[
    str | None,
    typer.Option(
        "--reply",
        metavar="|".join(REPLIES),
        help="Answer clients: echo data, client address, host name, or both over HTTP.",
    ),
]
TakeOver = Annotated[
    bool,
    typer.Option(
        "--take-over",
        help="Listen even if the port is in use on this host (socket, NAT rule, conntrack flow).",
        rich_help_panel="Routing and source",
    ),
]
ReplyMac = Annotated[
    bool,
    typer.Option(
        "--reply-mac",
        help="Send replies to the source MAC of the client's packets instead of routing them.",
        rich_help_panel="Routing and source",
    ),
]
Interfaces = Annotated[
    str | None,
    typer.Option(
        "-i",
        "--interface",
        metavar="IFACE,…",
        help="Listen on all addresses of these interfaces.",
        rich_help_panel="Routing and source",
    ),
]
Idle = Annotated[
    str | None,
    typer.Option(
        "-w",
        "--wait",
        metavar="TIME",
        help="Close a connection after TIME without data in either direction.",
        rich_help_panel="Timeouts and shutdown",
    ),
]


@expand_groups
def listen(
    *,
    where: Where = None,
    listening: Listen = False,
    port: Port = None,
    source: Source = None,
    ipv4: options_shared.IPv4 = False,
    ipv6: options_shared.IPv6 = False,
    udp: options_shared.Udp = False,
    interface: Interfaces = None,
    keep_open: KeepOpen = False,
    max_conns: MaxConns = None,
    allow: Allow = None,
    deny: Deny = None,
    reply: Reply = None,
    take_over: TakeOver = False,
    reply_mac: ReplyMac = False,
    wait: Idle = None,
    relaying: RelayOptionGroup,
    place: NetnsOptionGroup,
    running: ExecOptionGroup,
    secured: TlsOptionGroup,
    packets: SocketOptionGroup,
    numeric: options_shared.Numeric = False,
    zero: Annotated[bool, typer.Option("-z", hidden=True)] = False,
    proxy: Annotated[str | None, typer.Option("-x", "--proxy", hidden=True)] = None,
    verbose: options_shared.Verbose = 0,
    debug: options_shared.Debug = False,
    pcap: options_shared.Pcap = None,
    guard: options_shared.Guard = "auto",
) -> int:
    """Listen on [HOST] PORT, bypassing this host's network rules."""
    from netkat.commands.listen.accept_loop import listen
    from netkat.commands.listen.listen_request import ListenRequest

    _check(zero=zero, proxy=proxy is not None, both_versions=ipv4 and ipv6)
    protocol = Protocol.UDP if udp else Protocol.TCP
    host, number = _place(list(where or ()), port, source, protocol)
    most = None if max_conns is None else parse.count(max_conns, "--max-conns")
    request = ListenRequest(
        port=number,
        host=host,
        listen=ListenOptions(
            interfaces=() if interface is None else _interfaces(interface),
            version=4 if ipv4 else 6 if ipv6 else None,
            take_over=take_over,
            reply_mac=reply_mac,
        ),
        protocol=protocol,
        keep_open=keep_open or most is not None,
        most=most,
        allow=_networks(allow, "--allow"),
        deny=_networks(deny, "--deny"),
        reply=None if reply is None else _reply(reply),
        path=PathOptions(netns=place.namespace(), guard=guard).check(),
        socket_options=packets.options(udp=udp),
        numeric=numeric,
        read_stdin=relaying.read_stdin,
        # A listener on UDP goes on after the end of its input.
        relay=relaying.options(wait=wait, udp=udp, linger=FOR_EVER if udp else None),
        tls=secured.tls(udp=udp, server_side=True),
        command=running.command(
            against={
                "--reply": reply is not None,
                "-k with -u": udp and (keep_open or most is not None),
                "--recv-only": relaying.recv_only,
                "--send-only": relaying.send_only,
            }
        ),
        verbosity=verbose,
        show_frames=debug,
        frame_file=pcap,
    )
    if verbose > 1:
        show_logs()
    return listen(request, print_status)


def _check(*, zero: bool, proxy: bool, both_versions: bool) -> None:
    if zero:
        raise BadArgument("-z cannot be used with -l", hint="use only one of them")
    if proxy:
        raise BadArgument("-x cannot be used with -l: a proxy can only be used to connect")
    if both_versions:
        raise BadArgument(
            "-4 and -6 cannot be used together", hint="omit both: -l listens on both by default"
        )


def _place(
    words: list[str], port: str | None, source: str | None, protocol: Protocol
) -> tuple[str | None, int]:
    """HOST and PORT in each of nc's forms: PORT; HOST PORT; -p PORT [HOST]; -s HOST."""
    if len(words) > 2 or (port is not None and len(words) > 1):
        raise BadArgument(
            f"too many arguments: {' '.join(words)}", hint="use: netkat -l [HOST] PORT"
        )
    if port is not None and words and words[-1].isdigit():
        raise BadArgument(
            f"port given twice: -p {port} and {words[-1]}", hint="use: netkat -l [HOST] PORT"
        )
    what = "port" if port is None else "-p"
    if port is None:
        if not words:
            raise BadArgument(
                "no port given", hint="use: netkat -l [HOST] PORT; 0 selects a free port"
            )
        port = words.pop()
    host = words[0] if words else source
    if words and source is not None and words != [source]:
        raise BadArgument(f"listen address given twice: {words[0]} and -s {source}")
    number = 0 if port == "0" else parse.source_port(port, protocol, what)
    return None if host is None else parse.host(host), number


def _interfaces(word: str) -> tuple[str, ...]:
    return tuple(parse.interface(name) for name in word.split(","))


def _networks(words: list[str] | None, option: str) -> tuple[Network, ...]:
    found: list[Network] = []
    for word in ",".join(words or ()).split(",") if words else ():
        try:
            found.append(ip_network(word, strict=False))
        except ValueError:
            raise BadArgument(
                f"{option}: invalid network {word!r}", hint="write 10.0.0.0/8 or fd00::/8"
            ) from None
    return tuple(found)


def _reply(word: str) -> str:
    if word not in REPLIES:
        raise BadArgument(f"--reply: unknown responder {word!r}", hint=f"use {', '.join(REPLIES)}")
    return word
