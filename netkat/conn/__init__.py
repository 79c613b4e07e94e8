"""What a program holds: TCP connections, UDP endpoints, listeners; each imported on first use."""

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from netkat.conn.datagram import UdpConnection
    from netkat.conn.datagram_listener import UdpListener
    from netkat.conn.datagram_socket import UdpSocket
    from netkat.conn.listener import TcpListener
    from netkat.conn.stream import TcpConnection
    from netkat.conn.tls import TlsConnection

AnyStream: TypeAlias = "TcpConnection | TlsConnection"
AnyConnection: TypeAlias = "TcpConnection | TlsConnection | UdpConnection"

__all__ = [
    "AnyConnection",
    "AnyStream",
    "TcpConnection",
    "TcpListener",
    "UdpConnection",
    "UdpListener",
    "UdpSocket",
]

_ON_FIRST_USE = {
    "TcpConnection": "netkat.conn.stream",
    "TcpListener": "netkat.conn.listener",
    "UdpConnection": "netkat.conn.datagram",
    "UdpListener": "netkat.conn.datagram_listener",
    "UdpSocket": "netkat.conn.datagram_socket",
}


def __getattr__(name: str) -> object:
    # PEP 562, as in netkat itself: a TCP connection needs neither datagrams nor listeners.
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_ON_FIRST_USE[name]), name)
    globals()[name] = value
    return value
