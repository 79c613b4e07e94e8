"""Options that several commands share.

Every value stays a string here and is parsed by parse.py: typer would import pydantic to
convert it, which doubles the start-up time.
"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from netkat._version import GVISOR, __version__
from netkat.options import GUARD_MODES


def _guards(incomplete: str) -> list[str]:
    return [mode for mode in GUARD_MODES if mode.startswith(incomplete)]


def interface_names(incomplete: str) -> list[str]:
    """Return the names of interfaces for completion."""
    import socket

    return [name for _, name in socket.if_nameindex() if name.startswith(incomplete)]


def _version(requested: bool) -> None:
    if requested:
        print(f"netkat {__version__}")
        print(f"gVisor {GVISOR}")
        system = os.uname()
        print(f"{system.sysname} {system.release} {system.machine}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version",
        help="Print the versions of netkat, gVisor and the kernel, and exit.",
        is_eager=True,
        callback=_version,
    ),
]
Host = Annotated[
    str,
    typer.Argument(metavar="HOST", help="Destination host name or IP address.", show_default=False),
]
Ports = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PORT...",
        help="Port number or service name. With -z: lists and ranges, e.g. 22 80,443 8000-8100.",
        show_default=False,
    ),
]
IPv4 = Annotated[bool, typer.Option("-4", "--ipv4", help="Use IPv4 only.")]
IPv6 = Annotated[bool, typer.Option("-6", "--ipv6", help="Use IPv6 only.")]
Udp = Annotated[bool, typer.Option("-u", "--udp", help="Use UDP instead of TCP.")]
Source = Annotated[
    str | None,
    typer.Option(
        "-s",
        "--source",
        metavar="ADDR",
        help="Source address (must be assigned to this host).",
        rich_help_panel="Routing and source",
    ),
]
SourcePort = Annotated[
    str | None,
    typer.Option(
        "-p",
        "--source-port",
        metavar="PORT",
        help="Source port.",
        rich_help_panel="Routing and source",
    ),
]
Interface = Annotated[
    str | None,
    typer.Option(
        "-i",
        "--interface",
        metavar="IFACE",
        help="Send through this interface.",
        autocompletion=interface_names,
        rich_help_panel="Routing and source",
    ),
]
Via = Annotated[
    str | None,
    typer.Option(
        "--via",
        metavar="IP|MAC",
        help="Send through this next hop (IP or MAC address); the routing table is not changed.",
        rich_help_panel="Routing and source",
    ),
]
Table = Annotated[
    str | None,
    typer.Option(
        "-V",
        "--table",
        metavar="TABLE",
        help="Routing table (number or name), or VRF.",
        rich_help_panel="Routing and source",
    ),
]
Netns = Annotated[
    str | None,
    typer.Option(
        "--netns",
        metavar="NAME|PATH|PID",
        help="Run in this network namespace; name resolution and files use the current one.",
        rich_help_panel="Routing and source",
    ),
]
Pod = Annotated[
    str | None,
    typer.Option(
        "--pod",
        metavar="NS/NAME",
        help="Run in the network namespace of this pod (on this node).",
        rich_help_panel="Routing and source",
    ),
]
Container = Annotated[
    str | None,
    typer.Option(
        "--container",
        metavar="ID",
        help="Run in the network namespace of this container (on this node).",
        rich_help_panel="Routing and source",
    ),
]
Claim = Annotated[
    str | None,
    typer.Option(
        "--claim",
        metavar="ADDR",
        help="Use an unassigned source address: probe that it is free, and answer ARP/ND for it.",
        rich_help_panel="Routing and source",
    ),
]
QdiscBypass = Annotated[
    bool,
    typer.Option(
        "--qdisc-bypass",
        help="Bypass tc egress (PACKET_QDISC_BYPASS); not visible in captures on this host.",
        rich_help_panel="Routing and source",
    ),
]
Wait = Annotated[
    str | None,
    typer.Option(
        "-w",
        "--wait",
        metavar="TIME",
        help="Connect timeout per address (default 10s), and idle timeout (default none);"
        " TIME: 2, 0.5, 500ms, 2m.",
        rich_help_panel="Timeouts and shutdown",
    ),
]
Verbose = Annotated[
    int,
    typer.Option(
        "-v",
        "--verbose",
        count=True,
        show_default=False,
        help="Verbose; -vv for more detail.",
        rich_help_panel="Output",
    ),
]
Numeric = Annotated[
    bool, typer.Option("-n", "--nodns", help="Do not resolve host names or service names.")
]
Guard = Annotated[
    str,
    typer.Option(
        "--guard",
        metavar="|".join(GUARD_MODES),
        help="How to stop the kernel from answering the packets of this connection.",
        autocompletion=_guards,
        rich_help_panel="Routing and source",
    ),
]
Debug = Annotated[
    bool,
    typer.Option(
        "-d",
        "--debug",
        help="Print the packets of this connection on stderr (tcpdump format).",
        rich_help_panel="Output",
    ),
]
Pcap = Annotated[
    str | None,
    typer.Option(
        "--pcap",
        metavar="FILE",
        help="Write the packets of this connection to FILE (pcapng; pcap if it ends in .pcap).",
        rich_help_panel="Output",
    ),
]
Kernel = Annotated[
    bool,
    typer.Option(
        "--kernel",
        help="Use a kernel socket instead, for comparison (host rules and NAT apply).",
        rich_help_panel="Routing and source",
    ),
]
