"""What a program holds: TCP connections, UDP endpoints, listeners."""

from typing import TYPE_CHECKING, TypeAlias

from netkat.conn.datagram import UdpConnection
from netkat.conn.datagram_listener import UdpListener
from netkat.conn.datagram_socket import UdpSocket
from netkat.conn.listener import TcpListener
from netkat.conn.stream import TcpConnection

if TYPE_CHECKING:
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
