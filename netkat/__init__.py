"""netkat: netcat without the host in the way.

TCP and UDP through a raw packet socket and a TCP/IP stack of its own, so that
this host's firewall, NAT and socket hooks never see the connection.

>>> import netkat
>>> with netkat.create_connection(("10.111.111.129", 80), timeout=2) as conn:
...     conn.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
...     conn.recv(15)
b'HTTP/1.1 200 OK'

Everything public is here; errors are under :class:`netkat.NetkatError`. Nothing
is opened, and neither the Go library nor pyroute2 is loaded, at import. The
library logs through :mod:`logging` as ``netkat.<room>`` and prints nothing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from netkat import errors
from netkat._version import __version__
from netkat.errors import NetkatError

if TYPE_CHECKING:
    from netkat.api.asyncio_datagrams import create_datagram_endpoint
    from netkat.api.asyncio_streams import Server, open_connection, start_server
    from netkat.api.default_stack import (
        create_connection,
        create_server,
        open_datagram,
        reset_default_stack,
    )
    from netkat.api.stack import Stack
    from netkat.capture.packet import Packet
    from netkat.capture.sniffer import Sniffer, read_capture, sniff
    from netkat.conn import TcpConnection, TcpListener, UdpConnection, UdpSocket
    from netkat.conn.bridged import BridgedSocket
    from netkat.conn.tls import TlsConnection
    from netkat.diagnose.why.api import why
    from netkat.diagnose.why.result import WhyResult
    from netkat.stack.facts import Info

__all__ = [
    "BridgedSocket",
    "Info",
    "NetkatError",
    "Packet",
    "Server",
    "Sniffer",
    "Stack",
    "TcpConnection",
    "TcpListener",
    "TlsConnection",
    "UdpConnection",
    "UdpSocket",
    "WhyResult",
    "__version__",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "errors",
    "open_connection",
    "open_datagram",
    "read_capture",
    "reset_default_stack",
    "sniff",
    "start_server",
    "why",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())

_ON_FIRST_USE = {
    "BridgedSocket": "netkat.conn.bridged",
    "Info": "netkat.stack.facts",
    "Packet": "netkat.capture.packet",
    "Server": "netkat.api.asyncio_streams",
    "Sniffer": "netkat.capture.sniffer",
    "Stack": "netkat.api.stack",
    "TcpConnection": "netkat.conn",
    "TcpListener": "netkat.conn",
    "TlsConnection": "netkat.conn.tls",
    "UdpConnection": "netkat.conn",
    "UdpSocket": "netkat.conn",
    "WhyResult": "netkat.diagnose.why.result",
    "create_connection": "netkat.api.default_stack",
    "create_datagram_endpoint": "netkat.api.asyncio_datagrams",
    "create_server": "netkat.api.default_stack",
    "open_connection": "netkat.api.asyncio_streams",
    "open_datagram": "netkat.api.default_stack",
    "read_capture": "netkat.capture.sniffer",
    "reset_default_stack": "netkat.api.default_stack",
    "sniff": "netkat.capture.sniffer",
    "start_server": "netkat.api.asyncio_streams",
    "why": "netkat.diagnose.why.api",
}


def __getattr__(name: str) -> object:
    # PEP 562: --help and --version should not pay for sockets and filters.
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_ON_FIRST_USE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
