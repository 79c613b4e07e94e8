"""``netkat connect``, and plain ``netkat HOST PORT``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netkat.cli import options, values
from netkat.cli.conflicts import refuse_two_families, refuse_with_kernel
from netkat.cli.console import say, show_logs
from netkat.cli.exec_words import ExecWords
from netkat.cli.groups import spread
from netkat.cli.places import PlaceWords
from netkat.cli.proxy_words import ProxyWords
from netkat.cli.relay_words import RelayWords
from netkat.cli.scan_words import ScanWords
from netkat.cli.stack_words import StackWords
from netkat.cli.tls_words import TlsWords
from netkat.errors import BadArgument
from netkat.flow import Protocol
from netkat.options import PathOptions, parse_next_hop

if TYPE_CHECKING:
    from netkat.commands.request import Request


@spread
def connect(
    *,
    host: options.Host,
    ports: options.Ports = None,
    ipv4: options.IPv4 = False,
    ipv6: options.IPv6 = False,
    udp: options.Udp = False,
    source: options.Source = None,
    source_port: options.SourcePort = None,
    interface: options.Interface = None,
    via: options.Via = None,
    table: options.Table = None,
    place: PlaceWords,
    claim: options.Claim = None,
    qdisc_bypass: options.QdiscBypass = False,
    wait: options.Wait = None,
    relaying: RelayWords,
    running: ExecWords,
    secured: TlsWords,
    packets: StackWords,
    proxied: ProxyWords,
    numeric: options.Numeric = False,
    scanning: ScanWords,
    verbose: options.Verbose = 0,
    debug: options.Debug = False,
    pcap: options.Pcap = None,
    guard: options.Guard = "auto",
    kernel: options.Kernel = False,
) -> int:
    """Connect stdin and stdout to HOST PORT, past the rules of this host."""
    from netkat.commands.connect import connect
    from netkat.commands.request import Request

    protocol = Protocol.UDP if udp else Protocol.TCP
    asked = scanning.ports(ports)
    request = Request(
        host=values.host(host),
        port=str(asked[0]),
        protocol=protocol,
        path=PathOptions(
            source=None if source is None else values.address(source, "-s"),
            source_port=values.source_port(source_port, protocol),
            interface=None if interface is None else values.interface(interface),
            via=None if via is None else parse_next_hop(via, "--via"),
            table=table,
            netns=place.namespace(),
            claim=None if claim is None else values.address(claim, "--claim"),
            guard=guard,
            qdisc_bypass=qdisc_bypass,
        ).check(),
        socket_options=packets.options(udp=udp),
        wait=None if wait is None else values.seconds(wait, "-w"),
        kernel=kernel,
        version=4 if ipv4 else 6 if ipv6 else None,
        numeric=numeric,
        zero=scanning.zero,
        ports=asked if scanning.zero else (),
        shuffle=scanning.shuffle,
        require_reply=scanning.require_reply,
        read_stdin=relaying.read_stdin,
        relay=relaying.options(wait=wait, udp=udp),
        tls=secured.tls(udp=udp),
        through=proxied.through(udp=udp),
        command=running.command(
            against={
                "-z": scanning.zero,
                "--recv-only": relaying.recv_only,
                "--send-only": relaying.send_only,
            }
        ),
        verbosity=verbose,
        show_frames=debug,
        frame_file=pcap,
    )
    _check(request, both_versions=ipv4 and ipv6)
    if verbose > 1:
        show_logs()
    return connect(request, say)


def _check(request: Request, *, both_versions: bool) -> None:
    """Options that each make sense, and together do not."""
    if both_versions:
        raise BadArgument("-4 and -6 exclude each other")
    if request.zero:
        _check_zero(request)
    if request.kernel:
        refuse_with_kernel(request)
    refuse_two_families(request)


def _check_zero(request: Request) -> None:
    option = "--ssl" if request.tls is not None else "-x" if request.through is not None else None
    if option is None:
        return
    if len(request.ports) > 1:
        raise BadArgument(
            f"-z with {option} asks one port: a handshake each", hint="one call a port"
        )
    if request.relay.json:
        raise BadArgument(f"--json does not go with -z and {option}", hint="-v says it in words")
