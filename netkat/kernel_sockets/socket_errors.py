"""A kernel socket's error: an errno, and for UDP the ICMP message that caused it."""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from netkat.flow import IPAddress
from netkat.stack.codes import Code

_MSG_ERRQUEUE = 0x2000
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_ORIGIN_ICMP, _ORIGIN_ICMP6 = 2, 3
# struct sock_extended_err of linux/errqueue.h: errno, origin, type, code, pad, info, data.
_EXTENDED = struct.Struct("=IBBBBII")
_ROOM = 512

CODES = {
    errno.ECONNREFUSED: Code.REFUSED,
    errno.ECONNRESET: Code.RESET,
    errno.ETIMEDOUT: Code.TIMEOUT,
    errno.EPIPE: Code.PIPE,
    errno.EMSGSIZE: Code.MESSAGE_SIZE,
    errno.ENOTCONN: Code.NOT_CONNECTED,
    errno.ENOBUFS: Code.NO_MEMORY,
    errno.EBADF: Code.BAD_HANDLE,
    # What ICMP errors become: icmp_err_convert in net/ipv4/icmp.c, icmpv6_err_convert.
    errno.EHOSTUNREACH: Code.UNREACHABLE,
    errno.ENETUNREACH: Code.UNREACHABLE,
    errno.EHOSTDOWN: Code.UNREACHABLE,
    errno.ENONET: Code.UNREACHABLE,
    errno.ENOPROTOOPT: Code.UNREACHABLE,
    errno.EOPNOTSUPP: Code.UNREACHABLE,
    errno.EPROTO: Code.UNREACHABLE,
    errno.EACCES: Code.UNREACHABLE,
}


@dataclass(frozen=True, slots=True)
class Told:
    """``icmp`` is (type, code, sender), where the socket has an error queue: UDP alone.

    ``sending``: a send call failed, so this host itself refused.
    """

    errno: int
    icmp: tuple[int, int, IPAddress] | None = None
    sending: bool = False

    @property
    def code(self) -> Code:
        """The stack's code for it."""
        return CODES.get(self.errno, Code.FAULT)


def from_queue(opened: socket.socket) -> Told | None:
    """The last of the errors that wait in a UDP socket's queue; takes them all out."""
    last = None
    while True:
        try:
            _, ancillary, _, _ = opened.recvmsg(0, _ROOM, _MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        except OSError:
            return last
        for level, kind, data in ancillary:
            if (level, kind) in (
                (socket.IPPROTO_IP, _IP_RECVERR),
                (socket.IPPROTO_IPV6, _IPV6_RECVERR),
            ):
                last = _read(data) or last


def _read(data: bytes) -> Told | None:
    if len(data) < _EXTENDED.size:
        return None
    number, origin, icmp_type, icmp_code, _, _, _ = _EXTENDED.unpack_from(data)
    sender = _sender(data[_EXTENDED.size :])
    if origin in (_ORIGIN_ICMP, _ORIGIN_ICMP6) and sender is not None:
        return Told(number, (icmp_type, icmp_code, sender))
    return Told(number)


def _sender(raw: bytes) -> IPAddress | None:
    """The struct sockaddr behind it: who sent the ICMP message (SO_EE_OFFENDER)."""
    if len(raw) < 8:
        return None
    (family,) = struct.unpack_from("=H", raw)
    if family == socket.AF_INET:
        return IPv4Address(raw[4:8])
    if family == socket.AF_INET6 and len(raw) >= 24:
        return IPv6Address(raw[8:24])
    return None
