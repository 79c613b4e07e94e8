"""The real peer of a kernel socket (sock_diag(7)): getpeername() may be rewritten by cgroup BPF."""

from __future__ import annotations

import os
import socket
import struct

from netkat import netlink
from netkat.diagnose.why.evidence import endpoint
from netkat.host.routes import unpack_address

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_BYTECODE = 1
_SOURCE_AT_LEAST, _SOURCE_AT_MOST = 2, 3
_EVERY_STATE = 0xFFFFFFFF
_REQUEST = struct.Struct("=BBBxI")
_ID = struct.Struct("!HH16s16s")
_NO_COOKIE = b"\xff" * 8
_INODE_AT = 4 + _ID.size + 4 + 8 + 16


def real_peer(probe: socket.socket) -> str:
    """ADDRESS:PORT that the socket is connected to; "" where the kernel does not list it."""
    port = probe.getsockname()[1]
    inode = os.fstat(probe.fileno()).st_ino
    request = _REQUEST.pack(probe.family, _protocol(probe), 0, _EVERY_STATE)
    request += _ID.pack(0, 0, b"", b"") + struct.pack("=I", 0) + _NO_COOKIE
    request += netlink.attribute(_REQUEST_BYTECODE, _same_port(port))
    with netlink.Netlink(_NETLINK_SOCK_DIAG) as kernel:
        for answer in kernel.dump(_SOCK_DIAG_BY_FAMILY, request):
            if struct.unpack_from("=I", answer, _INODE_AT)[0] != inode:
                continue
            _, peer_port, _, packed = _ID.unpack_from(answer, 4)
            length = 4 if probe.family == socket.AF_INET else 16
            return endpoint(str(unpack_address(packed[:length])), peer_port) if peer_port else ""
    return ""


def _protocol(probe: socket.socket) -> int:
    return socket.IPPROTO_TCP if probe.type == socket.SOCK_STREAM else socket.IPPROTO_UDP


def _same_port(port: int) -> bytes:
    """The kernel's filter language: two tests, each followed by its number, or out of the end."""
    test = struct.Struct("=BBH")
    length = 4 * test.size
    return b"".join(
        test.pack(code, 2 * test.size, length - place + test.size) + test.pack(0, 0, port)
        for code, place in ((_SOURCE_AT_LEAST, 0), (_SOURCE_AT_MOST, 2 * test.size))
    )
