"""why's options, spelled once."""

from __future__ import annotations

from typing import Annotated

import typer

from netkat.cli.options_shared import interface_names

Host = Annotated[str, typer.Argument(metavar="HOST", help="Name or address.", show_default=False)]
Ports = Annotated[
    list[str],
    typer.Argument(metavar="PORT...", help="Number or service name.", show_default=False),
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
        help="With --incoming: the client's address (203.0.113.7 or 2001:db8::7).",
    ),
]
Wait = Annotated[
    str | None,
    typer.Option(
        "--wait",
        metavar="TIME",
        help="With --client: follow the client's next real packet; wait TIME for it.",
    ),
]
Interface = Annotated[
    str | None,
    typer.Option(
        "-i",
        "--interface",
        metavar="IFACE",
        help="With --incoming: arrive on this interface.",
        autocompletion=interface_names,
    ),
]
Timeout = Annotated[
    str | None,
    typer.Option("-w", "--timeout", metavar="TIME", help="Wait TIME for an answer (3 s)."),
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
        help="With -u: the datagram to send; ports 53 and 123 have a harmless query by default.",
    ),
]
ReadOnly = Annotated[
    bool,
    typer.Option(
        "--read-only", help="Write nothing, send nothing: look up kube-proxy's rules alone."
    ),
]
Trace = Annotated[
    bool, typer.Option("--trace", help="Show every rule that the packets met, both directions.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a port.")]
