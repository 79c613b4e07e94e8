"""The kernel's route for a flow's five-tuple (RTM_GETROUTE).

Asked that way, policy rules, VRFs and multipath hashing decide as they would for
a packet of this host, and the source address is the one the kernel would take.
"""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from netkat import netlink
from netkat.errors import BadArgument, InterfaceDown, NoRoute
from netkat.flow import IPAddress, Protocol
from netkat.host.links import link

RTM_GETROUTE = 26
RTA_DST, RTA_SRC, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC = 1, 2, 4, 5, 6, 7
RTA_METRICS, RTA_MULTIPATH, RTA_TABLE, RTA_VIA, RTA_NH_ID = 8, 9, 15, 18, 30
_RTA_IP_PROTO, _RTA_SPORT, _RTA_DPORT = 27, 28, 29
RTAX_MTU = 2
_RTM_F_LOOKUP_TABLE = 0x1000
_RTNH_F_ONLINK = 4

RTMSG = struct.Struct("=BBBBBBBBI")
"""struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags."""

RTN_UNICAST, RTN_LOCAL = 1, 2
KINDS = {1: "unicast", 2: "local", 3: "broadcast", 4: "anycast", 5: "multicast"}

REASONS = {
    errno.ENETUNREACH: "the kernel has no route to it",
    errno.EHOSTUNREACH: "its route is of type unreachable",
    errno.EACCES: "its route is of type prohibit",
    errno.EINVAL: "its route is of type blackhole",
}
"""What RTM_GETROUTE's errors mean (fib_props in net/ipv4/fib_semantics.c, ip6_rt_type_to_error)."""


class Route(NamedTuple):
    """The kernel's route for a flow.

    ``gateway`` None: the destination is on the link itself. It may be of another
    family (RTA_VIA, RFC 5549). ``mtu`` in bytes where route or path MTU discovery
    set one, else None: the link's counts. ``local``: the kernel would deliver it to
    this host. ``table`` 0: no table has a route, and since an interface was asked
    for, IPv4 takes the destination to be on its link. ``onlink``: the gateway counts
    as a neighbour although no subnet of the interface holds it. ``kind`` is one of KINDS.
    """

    interface: str
    index: int  # type: ignore[assignment]  # a field in place of tuple.index
    source: IPAddress
    gateway: IPAddress | None
    mtu: int | None
    local: bool
    table: int
    onlink: bool = False
    kind: str = "unicast"


def route_to(
    destination: IPAddress,
    *,
    source: IPAddress | None = None,
    interface: str | None = None,
    protocol: Protocol | None = None,
    local_port: int = 0,
    remote_port: int = 0,
    table: int | None = None,
) -> Route:
    """The kernel's route for this flow; with ``table`` that table's alone, rules left out.

    An IPv6 zone (``fe80::1%eth0``) names the interface. Ports of 0 are omitted.
    Errors: NoRoute, InterfaceNotFound, InterfaceDown, BadArgument (a link-local address without
    interface, a source that is not this host's).
    """
    if source is not None and source.version != destination.version:
        raise BadArgument(f"source {source} is not of the same family as {destination}")
    index = _outgoing(destination, source, interface)
    if table is not None:
        from netkat.host.fib import route_in_table

        return route_in_table(destination, table, source=source, index=index)
    flow = _flow_attributes(protocol, local_port, remote_port)
    with netlink.Netlink() as kernel:
        try:
            answer = kernel.get(RTM_GETROUTE, _request(destination, source, index, flow))
        except netlink.NetlinkError as error:
            raise _refusal(error, destination, source, index, kernel) from None
    route = _parse(answer, destination, source)
    # IPv4's lookup refuses a foreign source itself; IPv6's takes any.
    if source is not None and source.version == 6 and not is_own(source):
        raise foreign_source(source)
    return route


def route_past_local(
    destination: IPAddress,
    *,
    source: IPAddress | None = None,
    interface: str | None = None,
    protocol: Protocol | None = None,
    local_port: int = 0,
    remote_port: int = 0,
) -> Route:
    """The route of an address that this host holds, as if it did not.

    With kube-proxy in IPVS mode every LoadBalancer address sits on a dummy
    interface of the node, so route_to() returns a local route. The kernel has no lookup
    without its local table, so policy rules and tables are evaluated here.
    Errors: as route_to.
    """
    from netkat.host.ip_rules import walk_rules

    return walk_rules(
        destination,
        source=source,
        index=_outgoing(destination, source, interface),
        protocol=protocol,
        local_port=local_port,
        remote_port=remote_port,
    )


def is_own(address: IPAddress) -> bool:
    """Return whether the kernel delivers packets for this address locally (local table)."""
    zone = _zone(address)
    index = _zone_index(zone) if zone else None
    if index is None and address.version == 6 and address.is_link_local:
        from netkat.host.links import addresses

        return any(entry.address.packed == address.packed for entry in addresses())
    with netlink.Netlink() as kernel:
        return _is_own(address, index, kernel)


def foreign_source(source: IPAddress) -> BadArgument:
    """Return the error for a source address that is not assigned to this host."""
    return BadArgument(
        f"{source} is not an address of this host", hint="list local addresses: ip -br address"
    )


def no_route(destination: IPAddress, reason: str, device: str = "") -> NoRoute:
    """Return the error for a destination without a route."""
    on = f" on {device}" if device else ""
    return NoRoute(
        f"no route to {destination}{on}: {reason}", hint=f"check: ip route get {destination}"
    )


def metrics_mtu(found: dict[int, bytes]) -> int | None:
    """The MTU among a route's metrics."""
    mtu = netlink.attributes(found.get(RTA_METRICS, b"")).get(RTAX_MTU)
    return netlink.u32(mtu) or None if mtu else None


def via(found: dict[int, bytes]) -> IPAddress | None:
    """The gateway, of the route's own family or of the other."""
    if RTA_GATEWAY in found:
        return unpack_address(found[RTA_GATEWAY])
    if RTA_VIA in found:
        return unpack_address(found[RTA_VIA][2:])
    return None


def unpack_address(packed: bytes) -> IPAddress:
    """4 or 16 bytes."""
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def address_family(address: IPAddress) -> socket.AddressFamily:
    """AF_INET or AF_INET6."""
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _zone(address: IPAddress | None) -> str | None:
    return address.scope_id if isinstance(address, IPv6Address) else None


def _zone_index(zone: str) -> int:
    """A zone is an interface's name or its index (RFC 4007)."""
    return link(int(zone) if zone.isdigit() else zone).index


def _outgoing(
    destination: IPAddress, source: IPAddress | None, interface: str | None
) -> int | None:
    """The interface that was asked for, by name or by a zone; they must not contradict."""
    asked = {} if interface is None else {link(interface).index: interface}
    for zone in (_zone(destination), _zone(source)):
        if zone is not None:
            asked.setdefault(_zone_index(zone), zone)
    if len(asked) > 1:
        raise BadArgument(
            f"{destination}: {' and '.join(asked.values())} are two different interfaces"
        )
    if not asked and destination.version == 6 and destination.is_link_local:
        raise BadArgument(
            f"{destination} is link-local: on which interface?",
            hint=f"write {destination}%eth0, or name the interface with -i",
        )
    return next(iter(asked), None)


def _flow_attributes(protocol: Protocol | None, local_port: int, remote_port: int) -> bytes:
    if protocol is None:
        return b""
    flow = netlink.attribute(_RTA_IP_PROTO, bytes([protocol]))
    if local_port:
        flow += netlink.attribute(_RTA_SPORT, local_port.to_bytes(2, "big"))
    if remote_port:
        flow += netlink.attribute(_RTA_DPORT, remote_port.to_bytes(2, "big"))
    return flow


def _request(
    destination: IPAddress, source: IPAddress | None, index: int | None, flow: bytes = b""
) -> bytes:
    bits = destination.max_prefixlen
    source_bits = bits if source is not None else 0
    family = address_family(destination)
    # IPv6 always returns the table, and rejects the flag under strict checking.
    flags = _RTM_F_LOOKUP_TABLE if family == socket.AF_INET else 0
    body = RTMSG.pack(family, bits, source_bits, 0, 0, 0, 0, 0, flags)
    body += netlink.attribute(RTA_DST, destination.packed)
    if source is not None:
        body += netlink.attribute(RTA_SRC, source.packed)
    if index is not None:
        body += netlink.attribute(RTA_OIF, netlink.pack_u32(index))
    return body + flow


def _parse(answer: bytes, destination: IPAddress, asked_source: IPAddress | None) -> Route:
    _, _, _, _, table, _, _, kind, flags = RTMSG.unpack_from(answer)
    found = netlink.attributes(answer, RTMSG.size)
    if kind not in KINDS or RTA_OIF not in found:
        raise no_route(destination, f"the kernel answers with a route of type {kind}")
    index = netlink.u32(found[RTA_OIF])
    source = asked_source
    if source is None and RTA_PREFSRC in found:
        source = unpack_address(found[RTA_PREFSRC])
    name = link(index).name
    if source is None:
        raise no_route(
            destination, f"this host has no IPv{destination.version} address for it", name
        )
    if isinstance(source, IPv6Address) and source.is_link_local and source.scope_id is None:
        # A local answer names lo, where the address does not live.
        source = IPv6Address(f"{source}%{_zone(destination) or name}")
    return Route(
        interface=name,
        index=index,
        source=source,
        gateway=via(found),
        mtu=metrics_mtu(found),
        # An address of the Subnet-Router anycast kind is delivered to this host as well.
        local=KINDS[kind] == "local" or (KINDS[kind] == "anycast" and destination.version == 6),
        table=netlink.u32(found[RTA_TABLE]) if RTA_TABLE in found else table,
        onlink=bool(flags & _RTNH_F_ONLINK),
        kind=KINDS[kind],
    )


def _refusal(
    error: netlink.NetlinkError,
    destination: IPAddress,
    source: IPAddress | None,
    index: int | None,
    kernel: netlink.Netlink,
) -> Exception:
    # An IPv4 source that is not this host's has no errno of its own.
    if source is not None and not _is_own(source, index, kernel):
        return foreign_source(source)
    if error.errno not in REASONS or error.reason:
        return error
    device = link(index) if index is not None else None
    if device is not None and not device.up:
        return InterfaceDown(
            f"{device.name} is down",
            interface=device.name,
            hint=f"set it up: ip link set {device.name} up",
        )
    return no_route(destination, REASONS[error.errno], device.name if device else "")


def _is_own(address: IPAddress, index: int | None, kernel: netlink.Netlink) -> bool:
    try:
        answer = kernel.get(RTM_GETROUTE, _request(address, None, index))
    except netlink.NetlinkError:
        return False
    return bool(RTMSG.unpack_from(answer)[7] == RTN_LOCAL)
