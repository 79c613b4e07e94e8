"""Reserve the local port with a kernel socket that ignores the port's packets.

The reserving socket is also the guard mode `socket`, active together with every other
mode, and it requires no capability. Measured on IPv4 and IPv6:

- TCP, bound alone: the kernel answers a SYN-ACK with RST, as on a closed port.
  Bound and listening with IP_MINTTL (IPV6_MINHOPCOUNT) 255: it silently drops
  packets from beyond a router, and from a peer that sends less than 255
  (tcp_v4_rcv and tcp_v6_rcv test it first).
- A peer on the same link that sends with 255 passes that test; a drop-all socket
  filter drops it too, if it can be attached.
- UDP: a bound socket is enough to keep ICMP port unreachable away; the filter
  keeps its buffer empty.
- It runs after netfilter and conntrack: an INPUT rule that rejects still sends a reply.

bind() detects sockets only. The kernel's NAT uses ports without a socket, for
masqueraded flows, so conntrack is queried as well. A new flow can still take the
port between that query and the first packet.
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
"""Ports to try, if NAT uses them, before reporting that none is free."""


class PortReservation:
    """A port that is reserved until close().

    ``conntrack_checked`` False: not checked for a masqueraded flow that uses
    it (that requires CAP_NET_ADMIN). ``filtered`` False: a TCP peer on the same link
    that sends with TTL 255 would reach the kernel. ``taken_from``: the program or rule
    that serves the port on this host, for a port that netkat takes over.
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
    def without_socket(cls, port: int, owner: str) -> PortReservation:
        """Return a port that another program holds: a guard at the interface drops its packets."""
        return cls(port, True, True, None, owner)

    def fileno(self) -> int:
        """The reserving socket's descriptor; -1 once closed, or where another holds the port."""
        return -1 if self._socket is None else self._socket.fileno()

    def close(self) -> None:
        """Release the port. Idempotent."""
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
    request = _PortRequest(protocol, local, remote, remote_port, interface, foreign, census)
    if port:
        held, entry = _try(request, port)
        # An entry without NAT is from an earlier connection of this host, which has ended:
        # bind() succeeded.
        if entry is None or not entry.translated:
            return held
        held.close()
        raise PortTaken(
            f"port {port} on {local} is in use by {entry}",
            owner=str(entry),
            hint="omit -p to use a free port",
        )
    refused: list[PortReservation] = []
    try:
        while len(refused) < TRIES:
            held, entry = _try(request, 0)
            if entry is None:
                return held
            # Kept open, or the kernel may choose the same port again.
            refused.append(held)
    except PortTaken:
        if not refused:
            raise
    finally:
        for other in refused:
            other.close()
    raise PortTaken(
        f"no free {protocol} port on {local}: each of {len(refused)} tried is in use by a"
        " masqueraded flow (conntrack)",
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


def _try(request: _PortRequest, port: int) -> tuple[PortReservation, conntrack.Entry | None]:
    """Hold a port, and what conntrack has on it."""
    held = _hold(request, port)
    try:
        return held, _flow_on(held, request)
    except BaseException:
        held.close()
        raise


def _hold(request: _PortRequest, port: int) -> PortReservation:
    protocol, local = request.protocol, request.local
    family = socket.AF_INET if local.version == 4 else socket.AF_INET6
    kind = socket.SOCK_STREAM if protocol is Protocol.TCP else socket.SOCK_DGRAM
    with system_call(f"open a socket that reserves the {protocol} port (socket)"):
        holder = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if request.interface is not None:
            bind_to_device(holder, request.interface)
        if request.foreign:
            # Requires no capability, on IPv6 sockets too (ip(7), IP_FREEBIND).
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
    # The primary name: SO_BINDTODEVICE ignores alternative names and truncates long ones.
    name = link(interface).name.encode() + b"\0"
    try:
        holder.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, name)
    except PermissionError:  # before Linux 5.7
        raise MissingCapability(
            f"binding a socket to {interface} requires CAP_NET_RAW",
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
        return PortTaken(f"no free {protocol} port on {local}: all are in use by sockets")
    if error.errno == errno.EADDRINUSE:
        from netkat.host.port_owner import port_owner

        owner = port_owner(protocol, local, port)
        who = owner or "an unknown process"
        return PortTaken(
            f"port {port} on {local} is in use by {who}",
            owner=owner,
            hint="omit -p to use a free port",
        )
    if error.errno == errno.EACCES and 0 < port < 1024:
        return MissingCapability(
            f"port {port} is privileged: binding requires CAP_NET_BIND_SERVICE",
            capability="CAP_NET_BIND_SERVICE",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        if any(own.tentative and own.address.packed == local.packed for own in addresses()):
            return BadArgument(
                f"{local} is tentative: duplicate address detection is not finished",
                hint="try again in a second, or check for dadfailed: ip -6 address",
            )
        return foreign_source(local)
    if error.errno == errno.EINVAL and local.version == 6 and local.is_link_local:
        return BadArgument(f"{local} is link-local: an interface is required")
    if is_local(error):
        return system_error(error, f"reserve {protocol} port {port or 'any'} on {local} (bind)")
    return SetupError(f"cannot reserve {protocol} port {port} on {local}: {error.strerror}")


def _flow_on(held: PortReservation, request: _PortRequest) -> conntrack.Entry | None:
    protocol, local, remote, remote_port = request[:4]
    try:
        found = conntrack.find_entry(
            protocol, local, held.port, remote, remote_port, census=request.census
        )
    except SetupError:
        return None
    held.conntrack_checked = True
    return found
