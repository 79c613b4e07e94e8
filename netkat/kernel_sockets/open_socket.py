"""A kernel socket as the command line asks for it: bound, with its options, not connected yet."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address

from netkat.engine.option_numbers import by_number
from netkat.errors import BadArgument
from netkat.flow import IPAddress, Protocol
from netkat.host.port_reservation import bind, bind_to_device
from netkat.options import DEFAULT_SOCKET, SocketOptions
from netkat.stack import Option

_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_DONT = 10, 23, 0
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_IP_MINTTL, _IPV6_MINHOPCOUNT = 21, 73

_LINGER = struct.Struct("ii")
"""struct linger of sys/socket.h."""

_PLACES = {
    Option.NO_DELAY: (socket.IPPROTO_TCP, socket.TCP_NODELAY),
    Option.MAX_SEGMENT: (socket.IPPROTO_TCP, socket.TCP_MAXSEG),
    Option.KEEP_ALIVE: (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    Option.KEEP_IDLE: (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
    Option.KEEP_INTERVAL: (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
    Option.KEEP_COUNT: (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
    Option.USER_TIMEOUT: (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
    Option.LINGER: (socket.SOL_SOCKET, socket.SO_LINGER),
    Option.RECEIVE_BUFFER: (socket.SOL_SOCKET, socket.SO_RCVBUF),
    Option.SEND_BUFFER: (socket.SOL_SOCKET, socket.SO_SNDBUF),
    Option.BROADCAST: (socket.SOL_SOCKET, socket.SO_BROADCAST),
}
_PLACES_BY_VERSION = {
    4: {
        Option.TTL: (socket.IPPROTO_IP, socket.IP_TTL),
        Option.TOS: (socket.IPPROTO_IP, socket.IP_TOS),
        Option.MIN_TTL: (socket.IPPROTO_IP, _IP_MINTTL),
    },
    6: {
        Option.TTL: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS),
        Option.TOS: (socket.IPPROTO_IPV6, socket.IPV6_TCLASS),
        Option.MIN_TTL: (socket.IPPROTO_IPV6, _IPV6_MINHOPCOUNT),
    },
}

Sockaddr = tuple[str, int] | tuple[str, int, int, int]


def open_socket(
    destination: IPAddress,
    protocol: Protocol,
    *,
    source: IPAddress | None = None,
    source_port: int = 0,
    interface: str | None = None,
    options: SocketOptions = DEFAULT_SOCKET,
) -> socket.socket:
    """A socket of the calling thread's network namespace. It never blocks.

    Errors: as netkat.host.port_reservation.reserve: PortTaken, BadArgument, MissingCapability.
    """
    family = socket.AF_INET if destination.version == 4 else socket.AF_INET6
    kind = socket.SOCK_STREAM if protocol is Protocol.TCP else socket.SOCK_DGRAM
    opened = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if interface is not None:
            bind_to_device(opened, interface)
        if protocol is Protocol.UDP:
            _tell_all(opened, destination.version)
        else:
            # As our stack: what is written leaves at once.
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        set_options(opened, destination.version, options)
        if source is not None or source_port:
            # A port of an earlier connection that waits out its last segments is free (nc too).
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bind(opened, protocol, source or _any(destination), source_port)
    except BaseException:
        opened.close()
        raise
    return opened


def sockaddr(destination: IPAddress, port: int) -> Sockaddr:
    """Where to connect. A zone is looked up in the calling thread's namespace.

    Errors: BadArgument.
    """
    if not isinstance(destination, IPv6Address):
        return str(destination), port
    zone, index = destination.scope_id, 0
    if zone is not None:
        try:
            index = int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
        except OSError:
            raise BadArgument(f"{destination}: there is no interface {zone}") from None
    return str(destination).partition("%")[0], port, 0, index


def set_options(opened: socket.socket, version: int, options: SocketOptions) -> None:
    """Errors: BadArgument, for what the kernel does not take."""
    for option, value in by_number(options).items():
        try:
            opened.setsockopt(*place(option, version), value)
        except OSError as error:
            name = option.name.lower().replace("_", " ")
            raise BadArgument(f"{name} {value}: the kernel says {error.strerror}") from None


def place(option: Option, version: int) -> tuple[int, int]:
    """The level and number of one of the stack's options on a kernel socket."""
    return _PLACES.get(option) or _PLACES_BY_VERSION[version][option]


def packed(option: Option, value: int) -> int | bytes:
    """A value of the stack's as setsockopt(2) takes it."""
    return _LINGER.pack(value > 0, max(value - 1, 0)) if option is Option.LINGER else value


def linger_of(opened: socket.socket) -> int:
    """SO_LINGER, as the stack's option has it: 0 is off, otherwise seconds + 1."""
    level, number = _PLACES[Option.LINGER]
    on, seconds = _LINGER.unpack(opened.getsockopt(level, number, _LINGER.size))
    return int(seconds) + 1 if on else 0


def _tell_all(opened: socket.socket, version: int) -> None:
    """ICMP errors with their sender; and fragments where a datagram needs them, as our stack."""
    if version == 4:
        opened.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        opened.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_DONT)
    else:
        opened.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        opened.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_DONT)


def _any(destination: IPAddress) -> IPAddress:
    return type(destination)(0)
