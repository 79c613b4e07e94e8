"""``netkat listen``, and ``netkat -l`` as netcat's users write it."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Annotated

import typer

from netkat.cli import options_shared, parse
from netkat.cli.console import say, show_logs
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
    typer.Argument(metavar="[HOST] PORT", help="This host's address or name; a port, 0 for any."),
]
Listen = Annotated[bool, typer.Option("-l", "--listen", hidden=True)]
Port = Annotated[str | None, typer.Option("-p", metavar="PORT", help="The port, as nc has it.")]
Source = Annotated[
    str | None, typer.Option("-s", "--source", metavar="ADDR", help="The address, as nc has it.")
]
KeepOpen = Annotated[
    bool,
    typer.Option(
        "-k", "--keep-open", help="Go on after the first client, many at once; stdin is not read."
    ),
]
MaxConns = Annotated[
    str | None,
    typer.Option("--max-conns", metavar="N", help="End after N clients; implies -k."),
]
Allow = Annotated[
    list[str] | None,
    typer.Option("--allow", metavar="CIDR", help="Only these clients; several, or commas."),
]
Deny = Annotated[
    list[str] | None, typer.Option("--deny", metavar="CIDR", help="Not these clients.")
]
Reply = Annotated[
    str | None,
    typer.Option(
        "--reply",
        metavar="|".join(REPLIES),
        help="Answer by itself: the bytes, the client's address, this host's name, both by HTTP.",
    ),
]
TakeOver = Annotated[
    bool,
    typer.Option(
        "--take-over",
        help="Take a port that this host serves, by a socket, NAT or a flow.",
        rich_help_panel="The way",
    ),
]
ReplyMac = Annotated[
    bool,
    typer.Option(
        "--reply-mac",
        help="Answer to the MAC that the client's packets come from, not by route.",
        rich_help_panel="The way",
    ),
]
Interfaces = Annotated[
    str | None,
    typer.Option(
        "-i",
        "--interface",
        metavar="IFACE,…",
        help="Every address of these interfaces.",
        rich_help_panel="The way",
    ),
]
Idle = Annotated[
    str | None,
    typer.Option(
        "-w",
        "--wait",
        metavar="TIME",
        help="End a connection after TIME without a byte.",
        rich_help_panel="The end",
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
    """Wait for a client on [HOST] PORT, past the rules of this host."""
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
    return listen(request, say)


def _check(*, zero: bool, proxy: bool, both_versions: bool) -> None:
    if zero:
        raise BadArgument("-z does not go with -l", hint="leave one of them away")
    if proxy:
        raise BadArgument("-x does not go with -l: a proxy is for those who connect")
    if both_versions:
        raise BadArgument("-4 and -6 exclude each other", hint="both is what -l does unasked")


def _place(
    words: list[str], port: str | None, source: str | None, protocol: Protocol
) -> tuple[str | None, int]:
    """HOST and PORT in each of nc's forms: PORT; HOST PORT; -p PORT [HOST]; -s HOST."""
    if len(words) > 2 or (port is not None and len(words) > 1):
        raise BadArgument(f"too many words: {' '.join(words)}", hint="netkat -l [HOST] PORT")
    if port is not None and words and words[-1].isdigit():
        raise BadArgument(f"two ports: -p {port} and {words[-1]}", hint="netkat -l [HOST] PORT")
    what = "port" if port is None else "-p"
    if port is None:
        if not words:
            raise BadArgument("which port?", hint="netkat -l [HOST] PORT; 0 takes a free one")
        port = words.pop()
    host = words[0] if words else source
    if words and source is not None and words != [source]:
        raise BadArgument(f"{words[0]} and -s {source} are two addresses")
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
                f"{option}: {word!r} is no network", hint="such as 10.0.0.0/8 or fd00::/8"
            ) from None
    return tuple(found)


def _reply(word: str) -> str:
    if word not in REPLIES:
        raise BadArgument(f"--reply: {word!r} is not there", hint=", ".join(REPLIES))
    return word
