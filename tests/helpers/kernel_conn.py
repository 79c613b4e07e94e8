"""A connection as netkat.conn shapes it, on the kernel's own sockets: real FIN, RST and windows."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import select
import socket
import struct
import termios
from dataclasses import dataclass

from netkat.errors import ConnectionReset, Refused
from netkat.flow import Protocol

FIN_ACKED_STATES = {5, 6, 7}
ERROR_STATE = 15


@dataclass(frozen=True)
class Info:
    state: int
    unacked: int
    fin_acked: bool


class KernelConn:
    """One end of a loopback connection. ``peer`` is the other, a plain socket."""

    def __init__(self, protocol: Protocol = Protocol.TCP, *, small_buffers: bool = False) -> None:
        self.protocol = protocol
        self._sock, self.peer = (
            _tcp_pair(small_buffers) if protocol == Protocol.TCP else _udp_pair()
        )
        self._broken = False
        self._shut = False
        self.ended: str | None = None

    def fileno(self) -> int:
        return self._sock.fileno()

    def settimeout(self, seconds: float | None) -> None:
        self._sock.settimeout(seconds)

    def recv_into(self, buffer: memoryview, nbytes: int = 0) -> int:
        return self._named(lambda: self._sock.recv_into(buffer, nbytes))

    def send(self, data: memoryview) -> int:
        return self._named(lambda: self._sock.send(data))

    def shutdown(self, how: int) -> None:
        self._shut = True
        self._sock.shutdown(how)

    def info(self) -> Info:
        queued = struct.unpack("i", fcntl.ioctl(self._sock, termios.TIOCOUTQ, b"\0\0\0\0"))[0]
        state = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        fin_acked = self._shut and state in FIN_ACKED_STATES
        events = dict(_poll(self._sock))
        if self._broken or events.get(self._sock.fileno(), 0) & select.POLLERR:
            state = ERROR_STATE
        # The kernel counts a FIN as one byte.
        return Info(state, queued - (self._shut and not fin_acked and queued > 0), fin_acked)

    def close(self) -> None:
        self.ended = self.ended or "closed"
        self._sock.close()

    def abort(self) -> None:
        if self.ended is not None:
            return
        self.ended = "aborted"
        if self.protocol == Protocol.TCP:
            linger = struct.pack("ii", 1, 0)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        else:
            # A thread in recv() on a UDP socket sleeps through its close.
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def _named(self, call: object) -> int:
        try:
            return call()  # type: ignore[operator,no-any-return]
        except ConnectionResetError as error:
            self._broken = True
            raise ConnectionReset("Connection reset by peer") from error
        except BrokenPipeError as error:
            if self._shut:
                raise
            # After a RST was told once, the kernel says EPIPE.
            raise ConnectionReset("Connection reset by peer") from error
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                raise Refused("Connection refused") from error
            raise


def _poll(sock: socket.socket) -> list[tuple[int, int]]:
    poller = select.poll()
    poller.register(sock, 0)
    return poller.poll(0)


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
