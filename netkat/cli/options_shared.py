"""The options that commands share, spelled once.

Every value is taken as a word here and read by parse.py: typer would import
pydantic to convert it, at the price of all the rest of the start together.
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
    """For completion: the interfaces whose names begin so."""
    import socket

    return [name for _, name in socket.if_nameindex() if name.startswith(incomplete)]


def _version(asked: bool) -> None:
    if asked:
        print(f"netkat {__version__}")
        print(f"gVisor {GVISOR}")
        system = os.uname()
        print(f"{system.sysname} {system.release} {system.machine}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version",
        help="Show the versions of netkat, gVisor and the kernel and exit.",
        is_eager=True,
        callback=_version,
    ),
]
Host = Annotated[str, typer.Argument(metavar="HOST", help="Name or address.", show_default=False)]
Ports = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PORT...",
        help="Number or service name; with -z several: 80,443 8000-8100 ssh.",
        show_default=False,
    ),
]
IPv4 = Annotated[bool, typer.Option("-4", "--ipv4", help="IPv4 addresses only.")]
IPv6 = Annotated[bool, typer.Option("-6", "--ipv6", help="IPv6 addresses only.")]
Udp = Annotated[bool, typer.Option("-u", "--udp", help="UDP instead of TCP.")]
Source = Annotated[
    str | None,
    typer.Option(
        "-s",
        "--source",
        metavar="ADDR",
        help="Local address, one of this host's.",
        rich_help_panel="The way",
    ),
]
SourcePort = Annotated[
    str | None,
    typer.Option(
        "-p", "--source-port", metavar="PORT", help="Local port.", rich_help_panel="The way"
    ),
]
Interface = Annotated[
    str | None,
    typer.Option(
        "-i",
        "--interface",
        metavar="IFACE",
        help="Leave by this interface.",
        autocompletion=interface_names,
        rich_help_panel="The way",
    ),
]
Via = Annotated[
    str | None,
    typer.Option(
        "--via",
        metavar="IP|MAC",
        help="Next hop of this connection; the host's routes stay as they are.",
        rich_help_panel="The way",
    ),
]
Table = Annotated[
    str | None,
    typer.Option(
        "-V",
        "--table",
        metavar="TABLE",
        help="Routing table to look in, by number or name.",
        rich_help_panel="The way",
    ),
]
Netns = Annotated[
    str | None,
    typer.Option(
        "--netns",
        metavar="NAME|PATH|PID",
        help="Be in another network namespace; names resolve and files open in this one.",
        rich_help_panel="The way",
    ),
]
Pod = Annotated[
    str | None,
    typer.Option(
        "--pod",
        metavar="NS/NAME",
        help="Be in this pod of this node, as --netns.",
        rich_help_panel="The way",
    ),
]
Container = Annotated[
    str | None,
    typer.Option(
        "--container",
        metavar="ID",
        help="Be in this container of this node, as --netns.",
        rich_help_panel="The way",
    ),
]
Claim = Annotated[
    str | None,
    typer.Option(
        "--claim",
        metavar="ADDR",
        help="Be a foreign client: an address that nobody has, probed for and answered for.",
        rich_help_panel="The way",
    ),
]
QdiscBypass = Annotated[
    bool,
    typer.Option(
        "--qdisc-bypass",
        help="Go around tc egress programs, which hides our frames from this host's captures.",
        rich_help_panel="The way",
    ),
]
Wait = Annotated[
    str | None,
    typer.Option(
        "-w",
        "--wait",
        metavar="TIME",
        help="Give up connecting after TIME an address (10 s), and end after TIME without"
        " a byte either way (never): 2, 0.5, 500ms, 2m.",
        rich_help_panel="The end",
    ),
]
Verbose = Annotated[
    int,
    typer.Option(
        "-v",
        "--verbose",
        count=True,
        show_default=False,
        help="Say what happens; -vv says more.",
        rich_help_panel="Telling",
    ),
]
Numeric = Annotated[
    bool, typer.Option("-n", "--nodns", help="Addresses and numbers only, no look-ups.")
]
Guard = Annotated[
    str,
    typer.Option(
        "--guard",
        metavar="|".join(GUARD_MODES),
        help="How the kernel is kept from answering for us.",
        autocompletion=_guards,
        rich_help_panel="The way",
    ),
]
Debug = Annotated[
    bool,
    typer.Option(
        "-d", "--debug", help="Show this connection's frames on stderr.", rich_help_panel="Telling"
    ),
]
Pcap = Annotated[
    str | None,
    typer.Option(
        "--pcap",
        metavar="FILE",
        help="Write this connection's frames: pcapng, or FILE.pcap.",
        rich_help_panel="Telling",
    ),
]
Kernel = Annotated[
    bool,
    typer.Option(
        "--kernel",
        help="The same through a kernel socket, for comparison: this host's rules and NAT apply.",
        rich_help_panel="The way",
    ),
]
