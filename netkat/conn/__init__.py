"""What a program holds: TCP connections, UDP endpoints, listeners."""

from netkat.conn.datagram import UdpConnection
from netkat.conn.datagram_listener import UdpListener
from netkat.conn.datagram_socket import UdpSocket
from netkat.conn.listener import TcpListener
from netkat.conn.stream import TcpConnection

__all__ = ["TcpConnection", "TcpListener", "UdpConnection", "UdpListener", "UdpSocket"]
