"""Options of ``netkat why``."""

from __future__ import annotations

from typing import Annotated

import typer

from netkat.cli.options_shared import interface_names

Host = Annotated[
    str,
    typer.Argument(metavar="HOST", help="Destination host name or IP address.", show_default=False),
]
Ports = Annotated[
    list[str],
    typer.Argument(metavar="PORT...", help="Port number or service name.", show_default=False),
]
Incoming = Annotated[
    bool,
    typer.Option(
        "--incoming",
        help="Follow the packet of an external client that arrives at this host.",
    ),
]
Client = Annotated[
    str | None,
    typer.Option(
        "--client",
        metavar="ADDR",
        help="Client address (with --incoming; default 203.0.113.7 or 2001:db8::7).",
    ),
]
Wait = Annotated[
    str | None,
    typer.Option(
        "--wait",
        metavar="TIME",
        help="Wait TIME for the next real packet of the client and follow it (with --client).",
    ),
]
Interface = Annotated[
    str | None,
    typer.Option(
        "-i",
        "--interface",
        metavar="IFACE",
        help="Interface on which the packet arrives (with --incoming).",
        autocompletion=interface_names,
    ),
]
Timeout = Annotated[
    str | None,
    typer.Option("-w", "--timeout", metavar="TIME", help="Timeout for an answer (default 3s)."),
]
Count = Annotated[
    str | None,
    typer.Option("--count", metavar="N", help="Probe N times and compare the results."),
]
Send = Annotated[
    str | None,
    typer.Option(
        "--send",
        metavar="FILE",
        help="Datagram to send (with -u; default for ports 53 and 123: a harmless query).",
    ),
]
ReadOnly = Annotated[
    bool,
    typer.Option(
        "--read-only", help="Write nothing and send nothing: only read kube-proxy's rules."
    ),
]
Trace = Annotated[
    bool, typer.Option("--trace", help="Show every rule that the packets met, both directions.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per port.")]
