"""Which way a destination is reached: asked of the kernel once, before anything is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from netkat.errors import BadArgument, InterfaceDown, NoRoute, OwnAddress
from netkat.flow import IPAddress, Protocol
from netkat.host.links import Link, addresses, link
from netkat.host.neighbors import fixed_mac
from netkat.host.routes import Route, route_past_local, route_to
from netkat.options import DEFAULT_PATH, PathOptions

if TYPE_CHECKING:
    from netkat.stack import Stack, StackPath

OWN_ADDRESS_HINT = "use nc for it, or ask from another host"


BROADCAST_MAC = b"\xff" * 6


class Path(NamedTuple):
    """The path to one destination. ``next_hop_mac`` is set if no ARP request is required."""

    link: Link
    source: IPAddress
    next_hop: IPAddress | None
    """Who gets our frames; the destination itself when it is on-link, None without Ethernet."""
    next_hop_mac: bytes | None
    mtu: int
    past_local: bool = False
    """The kernel takes the destination for its own (a LoadBalancer address on an IPVS
    node); it is reached as if it did not."""
    broadcast: bool = False
    """True for a broadcast address of a subnet or link. The caller decides if that is allowed."""

    def for_stack(self, link: Stack | None = None) -> StackPath:
        """Return the path in the stack's terms; ``link`` is the stack of its interface, where that
        is not the flow's own."""
        from netkat.stack import StackPath

        mtu = self.mtu if self.mtu < self.link.mtu else 0
        return StackPath(self.next_hop, self.next_hop_mac, mtu, link)

    def describe(self, destination: IPAddress) -> str:
        """One line for -v."""
        hop = ""
        if self.next_hop_mac is not None:
            hop = f" via {self.next_hop_mac.hex(':')}"
        if self.next_hop is not None and self.next_hop != destination:
            hop = f" via {self.next_hop}{' (' + hop.removeprefix(' via ') + ')' if hop else ''}"
        return f"{destination} from {self.source} on {self.link.name}{hop}, mtu {self.mtu}"


def plan_path(
    destination: IPAddress,
    *,
    protocol: Protocol,
    remote_port: int,
    options: PathOptions = DEFAULT_PATH,
) -> Path:
    """Ask the kernel for the flow's route, without changing anything.

    ``options.via`` replaces the next hop for this flow alone: an address on a link of
    this host, or a MAC.
    Errors: OwnAddress, NoRoute, InterfaceDown, InterfaceNotFound, BadArgument.
    """
    _refuse_pointless(destination, protocol)
    options.require_destination(destination)
    via, source, interface = options.via, options.source, options.interface
    hop, past_local = via if via is not None and not isinstance(via, bytes) else None, False
    if hop is not None:
        route = _route_by(hop, source, interface)
    else:
        flow = _Flow(source, interface, protocol, options.source_port, remote_port)
        route = route_to(destination, table=_number(options.table), **flow._asdict())
        if route.local:
            route, past_local = _past_local(destination, flow), True
    out = link(route.index)
    if not out.up:
        raise InterfaceDown(
            f"{out.name} is down", interface=out.name, hint=f"ip link set {out.name} up"
        )
    if isinstance(via, bytes) and not out.ethernet:
        raise BadArgument(
            f"--via {via.hex(':')}: {out.name} has no Ethernet header, so no MAC on it",
            hint="leave --via away: there is one next hop on such a link",
        )
    if route.kind == "broadcast" and protocol is Protocol.TCP:
        raise BadArgument(f"{destination} is a broadcast address: TCP has one peer")
    mtu = min(out.mtu, route.mtu or out.mtu)
    if not out.ethernet:
        return Path(out, route.source, None, None, mtu, past_local)
    next_hop = hop or route.gateway or destination
    broadcast = route.kind == "broadcast"
    if isinstance(via, bytes):
        mac: bytes | None = via
    else:
        mac = BROADCAST_MAC if broadcast else fixed_mac(out.index, next_hop)
    return Path(out, route.source, next_hop, mac, mtu, past_local, broadcast)


class _Flow(NamedTuple):
    """What routing rules and multipath use, besides the destination."""

    source: IPAddress | None
    interface: str | None
    protocol: Protocol
    local_port: int
    remote_port: int


def _number(table: int | str | None) -> int | None:
    if table is None:
        return None
    from netkat.host.fib import table_number

    return table_number(table)


def _route_by(hop: IPAddress, source: IPAddress | None, interface: str | None) -> Route:
    route = route_to(hop, source=source, interface=interface)
    if route.local:
        raise BadArgument(f"--via {hop}: an address of this host")
    if route.gateway is not None:
        raise NoRoute(
            f"--via {hop}: not on a link of this host (the route to it goes by {route.gateway})",
            hint="a next hop is a neighbour: give an address of this host's own subnet, or a MAC",
        )
    return route


def _past_local(destination: IPAddress, flow: _Flow) -> Route:
    """The way to an address that this host holds without being what it stands for.

    A LoadBalancer address that IPVS has put on lo, a dummy or a bridge, or that a
    cloud's agent has put into the local table. An address in a subnet of the
    interface that leads there belongs to this host: no other host answers for it.
    """
    own = OwnAddress(
        f"{destination} is an address of this host: no packet for it reaches a wire",
        hint=f"{OWN_ADDRESS_HINT}; --via sends it to a next hop all the same",
    )
    try:
        route = route_past_local(destination, **flow._asdict())
    except NoRoute:
        raise own from None
    there = addresses(route.index)
    alone = route.source.packed not in {other.address.packed for other in there}
    for held in there:
        if held.address.packed != destination.packed:
            continue
        if held.prefix_length < destination.max_prefixlen or alone:
            raise own
    return route


def _refuse_pointless(destination: IPAddress, protocol: Protocol) -> None:
    if destination.is_loopback:
        raise OwnAddress(f"{destination} is loopback: no wire leads there", hint=OWN_ADDRESS_HINT)
    if destination.is_unspecified:
        raise BadArgument(f"{destination} is no destination")
    if protocol is Protocol.TCP and destination.is_multicast:
        raise BadArgument(f"{destination} is a multicast group: TCP has one peer")
