"""The socket module's options, as far as the stack has them."""

from __future__ import annotations

import errno
import socket
import struct
import sys
from typing import TYPE_CHECKING

from netkat.flow import Flow, Protocol
from netkat.stack import Option

if TYPE_CHECKING:
    from netkat.conn.interfaces import Endpoint

# Linux has these (uapi/linux/in.h, in6.h); Python's socket module does not name them.
_IP_MINTTL, _IPV6_MINHOPCOUNT = 21, 73

_LINGER = struct.Struct("ii")
"""struct linger of sys/socket.h: l_onoff, l_linger in seconds."""
_LONGEST_LINGER = 0x7FFFFFFE

_OF_ANY = {
    (socket.SOL_SOCKET, socket.SO_RCVBUF): Option.RECEIVE_BUFFER,
    (socket.SOL_SOCKET, socket.SO_SNDBUF): Option.SEND_BUFFER,
}
_OF_PROTOCOL = {
    Protocol.TCP: {
        (socket.IPPROTO_TCP, socket.TCP_NODELAY): Option.NO_DELAY,
        (socket.IPPROTO_TCP, socket.TCP_MAXSEG): Option.MAX_SEGMENT,
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE): Option.KEEP_ALIVE,
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): Option.KEEP_IDLE,
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL): Option.KEEP_INTERVAL,
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT): Option.KEEP_COUNT,
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT): Option.USER_TIMEOUT,
        (socket.SOL_SOCKET, socket.SO_LINGER): Option.LINGER,
    },
    Protocol.UDP: {(socket.SOL_SOCKET, socket.SO_BROADCAST): Option.BROADCAST},
}
_OF_VERSION = {
    4: {
        (socket.IPPROTO_IP, socket.IP_TTL): Option.TTL,
        (socket.IPPROTO_IP, socket.IP_TOS): Option.TOS,
        (socket.IPPROTO_IP, _IP_MINTTL): Option.MIN_TTL,
    },
    6: {
        (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS): Option.TTL,
        (socket.IPPROTO_IPV6, socket.IPV6_TCLASS): Option.TOS,
        (socket.IPPROTO_IPV6, _IPV6_MINHOPCOUNT): Option.MIN_TTL,
    },
}


def write(endpoint: Endpoint, flow: Flow, level: int, option: int, value: int | bytes) -> None:
    """setsockopt(2). Errors: OSError (ENOPROTOOPT), StackError."""
    known = _find(flow, level, option)
    if known is None or known is Option.MAX_SEGMENT:
        raise _unknown(level, option)
    if known is Option.LINGER:
        endpoint.set_option(known, _linger(value))
        return
    number = value if isinstance(value, int) else int.from_bytes(value[:4], sys.byteorder)
    endpoint.set_option(known, number)


def read(endpoint: Endpoint, flow: Flow, level: int, option: int, length: int = 0) -> int | bytes:
    """getsockopt(2). Errors: OSError (ENOPROTOOPT), StackError."""
    known = _find(flow, level, option)
    if known is Option.LINGER:
        seconds = endpoint.get_option(known) - 1
        packed = _LINGER.pack(seconds >= 0, max(seconds, 0))
        return packed[:length] if length else int(seconds >= 0)
    if known is not None:
        value = endpoint.get_option(known)
    elif level == socket.SOL_SOCKET and option in (facts := _facts(flow)):
        value = facts[option]
    else:
        raise _unknown(level, option)
    return value.to_bytes(4, sys.byteorder)[:length] if length else value


def lingers(endpoint: Endpoint) -> bool:
    """Whether close() is to wait until the peer has acknowledged everything (SO_LINGER)."""
    return endpoint.get_option(Option.LINGER) > 1


def _linger(value: int | bytes) -> int:
    """The stack's number of a struct linger. Errors: OSError (EINVAL)."""
    if isinstance(value, int) or len(value) < _LINGER.size:
        raise OSError(
            errno.EINVAL, "SO_LINGER takes a struct linger: struct.pack('ii', 1, seconds)"
        )
    on, seconds = _LINGER.unpack(value[: _LINGER.size])
    if seconds < 0:  # the kernel reads it as an unsigned number: without end
        seconds = _LONGEST_LINGER
    return min(seconds, _LONGEST_LINGER) + 1 if on else 0


def _find(flow: Flow, level: int, option: int) -> Option | None:
    key = (level, option)
    for table in (_OF_ANY, _OF_PROTOCOL[flow.protocol], _OF_VERSION[flow.version]):
        if key in table:
            return table[key]
    return None


def _facts(flow: Flow) -> dict[int, int]:
    stream = flow.protocol is Protocol.TCP
    return {
        socket.SO_TYPE: socket.SOCK_STREAM if stream else socket.SOCK_DGRAM,
        socket.SO_PROTOCOL: flow.protocol,
        socket.SO_DOMAIN: socket.AF_INET if flow.version == 4 else socket.AF_INET6,
        socket.SO_ERROR: 0,
    }


def _unknown(level: int, option: int) -> OSError:
    return OSError(
        errno.ENOPROTOOPT, f"netkat's stack has no option {option} at level {level} to offer here"
    )
