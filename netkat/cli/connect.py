"""``netkat connect``, and plain ``netkat HOST PORT``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netkat.cli import options_shared, parse
from netkat.cli.conflicts import refuse_two_families, refuse_with_kernel
from netkat.cli.console import print_status, show_logs
from netkat.cli.option_groups import expand_groups
from netkat.cli.options_exec import ExecOptionGroup
from netkat.cli.options_netns import NetnsOptionGroup
from netkat.cli.options_proxy import ProxyOptionGroup
from netkat.cli.options_relay import RelayOptionGroup
from netkat.cli.options_scan import ScanOptionGroup
from netkat.cli.options_socket import SocketOptionGroup
from netkat.cli.options_tls import TlsOptionGroup
from netkat.errors import BadArgument
from netkat.flow import Protocol
from netkat.options import PathOptions, parse_next_hop

if TYPE_CHECKING:
    from netkat.commands.connect.connect_request import ConnectRequest


@expand_groups
def connect(
    *,
    host: options_shared.Host,
    ports: options_shared.Ports = None,
    ipv4: options_shared.IPv4 = False,
    ipv6: options_shared.IPv6 = False,
    udp: options_shared.Udp = False,
    source: options_shared.Source = None,
    source_port: options_shared.SourcePort = None,
    interface: options_shared.Interface = None,
    via: options_shared.Via = None,
    table: options_shared.Table = None,
    place: NetnsOptionGroup,
    claim: options_shared.Claim = None,
    qdisc_bypass: options_shared.QdiscBypass = False,
    wait: options_shared.Wait = None,
    relaying: RelayOptionGroup,
    running: ExecOptionGroup,
    secured: TlsOptionGroup,
    packets: SocketOptionGroup,
    proxied: ProxyOptionGroup,
    numeric: options_shared.Numeric = False,
    scanning: ScanOptionGroup,
    verbose: options_shared.Verbose = 0,
    debug: options_shared.Debug = False,
    pcap: options_shared.Pcap = None,
    guard: options_shared.Guard = "auto",
    kernel: options_shared.Kernel = False,
) -> int:
    """Connect to HOST PORT, bypassing this host's network rules."""
    from netkat.commands.connect.connect_request import ConnectRequest
    from netkat.commands.connect.pipeline import connect

    protocol = Protocol.UDP if udp else Protocol.TCP
    asked = scanning.ports(ports)
    request = ConnectRequest(
        host=parse.host(host),
        port=str(asked[0]),
        protocol=protocol,
        path=PathOptions(
            source=None if source is None else parse.address(source, "-s"),
            source_port=parse.source_port(source_port, protocol),
            interface=None if interface is None else parse.interface(interface),
            via=None if via is None else parse_next_hop(via, "--via"),
            table=table,
            netns=place.namespace(),
            claim=None if claim is None else parse.address(claim, "--claim"),
            guard=guard,
            qdisc_bypass=qdisc_bypass,
        ).check(),
        socket_options=packets.options(udp=udp),
        wait=None if wait is None else parse.seconds(wait, "-w"),
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
        proxy=proxied.settings(udp=udp),
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
    return connect(request, print_status)


def _check(request: ConnectRequest, *, both_versions: bool) -> None:
    """Refuse options that cannot be used together. Errors: BadArgument."""
    if both_versions:
        raise BadArgument("-4 and -6 cannot be used together")
    if request.zero:
        _check_zero(request)
    if request.kernel:
        refuse_with_kernel(request)
    refuse_two_families(request)


def _check_zero(request: ConnectRequest) -> None:
    option = "--ssl" if request.tls is not None else "-x" if request.proxy is not None else None
    if option is None:
        return
    if len(request.ports) > 1:
        raise BadArgument(
            f"-z with {option} supports one port per call", hint="run netkat once per port"
        )
    if request.relay.json:
        raise BadArgument(f"--json cannot be used with -z and {option}", hint="use -v instead")
