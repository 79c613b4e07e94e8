"""A connection on kernel sockets, with the other end in hand: real FIN, RST and windows."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address

from netkat.conn import TcpConnection, UdpConnection
from netkat.conn.socket_base import Address
from netkat.flow import Flow, Protocol
from netkat.kernel_sockets.kernel_endpoint import KernelEndpoint
from netkat.kernel_sockets.kernel_session import KernelSession
from netkat.stack import Info


class KernelConn:
    """One end of a loopback connection. ``peer`` is the other, a plain socket.

    ``conn`` is the connection itself; here it is watched how it ends.
    """

    def __init__(self, protocol: Protocol = Protocol.TCP, *, small_buffers: bool = False) -> None:
        self.protocol = protocol
        stream = protocol == Protocol.TCP
        ours, self.peer = _tcp_pair(small_buffers) if stream else _udp_pair()
        ours.setblocking(False)
        here, there = ours.getsockname(), ours.getpeername()
        flow = Flow(protocol, ip_address(here[0]), here[1], ip_address(there[0]), there[1])
        session = KernelSession(KernelEndpoint(ours, protocol), flow)
        self.conn = TcpConnection(session) if stream else UdpConnection(session)
        self.ended: str | None = None

    @property
    def stream(self) -> TcpConnection:
        """The connection, where it is TCP."""
        assert isinstance(self.conn, TcpConnection)
        return self.conn

    def fileno(self) -> int:
        return self.conn.fileno()

    def getsockname(self) -> Address:
        return self.conn.getsockname()

    def getpeername(self) -> Address:
        return self.conn.getpeername()

    def settimeout(self, seconds: float | None) -> None:
        self.conn.settimeout(seconds)

    def recv_into(self, buffer: memoryview, nbytes: int = 0) -> int:
        return self.conn.recv_into(buffer, nbytes)

    def send(self, data: memoryview) -> int:
        return self.conn.send(data)

    def shutdown(self, how: int) -> None:
        assert isinstance(self.conn, TcpConnection)
        self.conn.shutdown(how)

    def info(self) -> Info:
        return self.conn.info()

    def close(self) -> None:
        self.ended = self.ended or "closed"
        self.conn.close()

    def abort(self) -> None:
        self.ended = self.ended or "aborted"
        self.conn.abort()


def _tcp_pair(small_buffers: bool) -> tuple[socket.socket, socket.socket]:
    with socket.socket() as listener:
        if small_buffers:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        ours = socket.socket()
        if small_buffers:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ours.connect(listener.getsockname())
        return ours, listener.accept()[0]


def _udp_pair() -> tuple[socket.socket, socket.socket]:
    ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind(("127.0.0.1", 0))
    ours.connect(peer.getsockname())
    peer.connect(ours.getsockname())
    return ours, peer


def reset(sock: socket.socket) -> None:
    """Close with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
