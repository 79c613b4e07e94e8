"""Reserving the local port: a kernel socket that holds it and keeps the kernel silent on it.

The reserving socket is also the guard mode `socket`, in use beside every other
mode, and it needs no capability. What is known of it, measured on IPv4
and IPv6 alike:

- TCP, bound alone: the kernel answers a SYN-ACK with RST, as on a closed port.
  Bound and listening with IP_MINTTL (IPV6_MINHOPCOUNT) 255: it drops whatever
  came over a router, or from a peer that sends less than 255, without a word
  (tcp_v4_rcv and tcp_v6_rcv test it before anything else).
- A peer on the same link that sends with 255 gets past that; a drop-all socket
  filter stops it too, where the kernel lets us attach one.
- UDP: a bound socket is enough to keep ICMP port unreachable away; the filter
  keeps its buffer empty.
- It sits behind netfilter and conntrack: an INPUT rule that rejects still answers.

bind() knows of sockets only. The kernel's NAT takes ports without one, for
masqueraded flows, so conntrack is asked as well. Between that answer and the
first packet a small window stays.
"""

from __future__ import annotations

import array
import errno
import socket
import struct
from ipaddress import IPv6Address
from typing import NamedTuple

from netkat.errors import BadArgument, MissingCapability, NetkatError, PortTaken, SetupError
from netkat.flow import IPAddress, Protocol
from netkat.host import conntrack
from netkat.host.links import addresses, link
from netkat.host.routes import foreign_source
from netkat.system_calls import is_local, system_call, system_error

_IP_FREEBIND, _IP_MINTTL, _IPV6_MINHOPCOUNT = 15, 21, 73
_SO_ATTACH_FILTER, _SO_BINDTODEVICE = 26, 25
_MAXIMUM_TTL = 255

TRIES = 16
"""How many ports may turn out to be in a NAT's hands before we say that all are."""


class PortReservation:
    """A port that is ours until close().

    ``conntrack_checked`` False: nobody could say whether a masqueraded flow uses
    it (that takes CAP_NET_ADMIN). ``filtered`` False: a TCP peer on the same link
    that sends with TTL 255 would reach the kernel. ``taken_from``: who serves the port on
    this host, and holds it in our place.
    """

    __slots__ = ("_socket", "conntrack_checked", "filtered", "port", "taken_from")

    def __init__(
        self,
        port: int,
        conntrack_checked: bool,
        filtered: bool,
        holder: socket.socket | None,
        taken_from: str | None = None,
    ) -> None:
        self.port, self.conntrack_checked, self.filtered = port, conntrack_checked, filtered
        self._socket, self.taken_from = holder, taken_from

    @classmethod
    def over(cls, port: int, owner: str) -> PortReservation:
        """A port that somebody else holds: a guard at the interface takes its packets away."""
        return cls(port, True, True, None, owner)

    def fileno(self) -> int:
        """The reserving socket's descriptor; -1 once closed, or where another holds the port."""
        return -1 if self._socket is None else self._socket.fileno()

    def close(self) -> None:
        """Give the port back; more than once is once."""
        if self._socket is not None:
            self._socket.close()


def reserve(
    protocol: Protocol,
    local: IPAddress,
    port: int = 0,
    *,
    remote: IPAddress | None = None,
    remote_port: int = 0,
    interface: str | None = None,
    foreign: bool = False,
    census: conntrack.EntryCounter | None = None,
) -> PortReservation:
    """Take a local port for one peer (or without ``remote`` for any); ``port`` 0 is any free one.

    ``interface`` binds the socket to a device, which a VRF needs. ``foreign`` allows
    an address that is not this host's. ``census`` is conntrack's count of entries, for a
    caller that reserves many ports.
    Errors: PortTaken with its owner, MissingCapability (CAP_NET_BIND_SERVICE),
    BadArgument (an address that is not this host's).
    """
    wish = _PortRequest(protocol, local, remote, remote_port, interface, foreign, census)
    if port:
        held, entry = _try(wish, port)
        # An entry without NAT is the trace of this host's own earlier connection:
        # bind() has shown that it is over.
        if entry is None or not entry.translated:
            return held
        held.close()
        raise PortTaken(
            f"port {port} on {local} is in use by {entry}",
            owner=str(entry),
            hint="leave -p away and netkat takes a free one",
        )
    refused: list[PortReservation] = []
    try:
        while len(refused) < TRIES:
            held, entry = _try(wish, 0)
            if entry is None:
                return held
            # Kept open until the end, or the kernel may choose it again.
            refused.append(held)
    except PortTaken:
        if not refused:
            raise
    finally:
        for other in refused:
            other.close()
    raise PortTaken(
        f"no free {protocol} port on {local}: each of {len(refused)} tried is in use by a flow"
        " that only conntrack knows",
        owner=str(entry),
    )


class _PortRequest(NamedTuple):
    """What reserve() was called with, but for the port."""

    protocol: Protocol
    local: IPAddress
    remote: IPAddress | None
    remote_port: int
    interface: str | None
    foreign: bool
    census: conntrack.EntryCounter | None


def _try(wish: _PortRequest, port: int) -> tuple[PortReservation, conntrack.Entry | None]:
    """Hold a port, and what conntrack has on it."""
    held = _hold(wish, port)
    try:
        return held, _flow_on(held, wish)
    except BaseException:
        held.close()
        raise


def _hold(wish: _PortRequest, port: int) -> PortReservation:
    protocol, local = wish.protocol, wish.local
    family = socket.AF_INET if local.version == 4 else socket.AF_INET6
    kind = socket.SOCK_STREAM if protocol is Protocol.TCP else socket.SOCK_DGRAM
    with system_call(f"open a socket that reserves the {protocol} port (socket)"):
        holder = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if wish.interface is not None:
            bind_to_device(holder, wish.interface)
        if wish.foreign:
            # Takes no capability, on IPv6 sockets too (ip(7), IP_FREEBIND).
            with system_call("set IP_FREEBIND (setsockopt)"):
                holder.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        # Before bind: a UDP socket takes packets from then on.
        filtered = _drop_all(holder)
        bind(holder, protocol, local, port)
        if protocol is Protocol.TCP:
            _listen_silently(holder, local)
        return PortReservation(holder.getsockname()[1], False, filtered, holder)
    except BaseException:
        holder.close()
        raise


def bind_to_device(holder: socket.socket, interface: str) -> None:
    """Bind a socket to an interface. Errors: InterfaceNotFound, MissingCapability."""
    # The first name: SO_BINDTODEVICE knows no alternative ones, and cuts what is long.
    name = link(interface).name.encode() + b"\0"
    try:
        holder.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, name)
    except PermissionError:  # before Linux 5.7
        raise MissingCapability(
            f"cannot bind a socket to {interface}: CAP_NET_RAW is missing",
            capability="CAP_NET_RAW",
        ) from None


def _listen_silently(holder: socket.socket, local: IPAddress) -> None:
    with system_call("set IP_MINTTL on the socket that reserves the port (setsockopt)"):
        if local.version == 4:
            holder.setsockopt(socket.IPPROTO_IP, _IP_MINTTL, _MAXIMUM_TTL)
        else:
            holder.setsockopt(socket.IPPROTO_IPV6, _IPV6_MINHOPCOUNT, _MAXIMUM_TTL)
    holder.listen(1)


def _drop_all(holder: socket.socket) -> bool:
    """One cBPF instruction, "accept 0 bytes". False where it may not be attached."""
    try:
        program = array.array("B", struct.pack("=HBBI", 0x06, 0, 0, 0))  # BPF_RET | BPF_K, 0
        pointer, _ = program.buffer_info()
        holder.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", 1, pointer))
    except PermissionError:
        return False
    except OSError as error:
        if is_local(error):
            operation = "attach a filter to the socket that reserves the port (setsockopt)"
            raise system_error(error, operation) from error
        raise
    return True


def bind(holder: socket.socket, protocol: Protocol, local: IPAddress, port: int) -> None:
    """Bind a socket. Errors: as reserve()."""
    zone = local.scope_id if isinstance(local, IPv6Address) else None
    try:
        if local.version == 4:
            holder.bind((str(local), port))
            return
        holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        index = 0
        if zone is not None:
            index = int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
        holder.bind((str(local).partition("%")[0], port, 0, index))
    except OSError as error:
        raise _bind_fault(error, protocol, local, port) from None


def _bind_fault(error: OSError, protocol: Protocol, local: IPAddress, port: int) -> NetkatError:
    if error.errno == errno.EADDRINUSE and not port:
        return PortTaken(f"no free {protocol} port on {local}: every one is held by a socket")
    if error.errno == errno.EADDRINUSE:
        from netkat.host.port_owner import port_owner

        owner = port_owner(protocol, local, port)
        who = owner or "a socket that the kernel does not list"
        return PortTaken(
            f"port {port} on {local} is taken by {who}",
            owner=owner,
            hint="leave -p away and netkat takes a free one",
        )
    if error.errno == errno.EACCES and 0 < port < 1024:
        return MissingCapability(
            f"port {port} is a privileged one: CAP_NET_BIND_SERVICE is missing",
            capability="CAP_NET_BIND_SERVICE",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        if any(own.tentative and own.address.packed == local.packed for own in addresses()):
            return BadArgument(
                f"{local} is not usable yet: its uniqueness on the link is being checked",
                hint="try again in a second; dadfailed in ip -6 address says that it never will be",
            )
        return foreign_source(local)
    if error.errno == errno.EINVAL and local.version == 6 and local.is_link_local:
        return BadArgument(f"{local} is link-local: on which interface?")
    if is_local(error):
        return system_error(error, f"reserve {protocol} port {port or 'any'} on {local} (bind)")
    return SetupError(f"cannot reserve {protocol} port {port} on {local}: {error.strerror}")


def _flow_on(held: PortReservation, wish: _PortRequest) -> conntrack.Entry | None:
    protocol, local, remote, remote_port = wish[:4]
    try:
        found = conntrack.find_entry(
            protocol, local, held.port, remote, remote_port, census=wish.census
        )
    except SetupError:
        return None
    held.conntrack_checked = True
    return found
