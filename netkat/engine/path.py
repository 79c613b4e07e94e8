"""Which way a destination is reached: asked of the kernel once, before anything is opened."""

from __future__ import annotations

from dataclasses import dataclass

from netkat.errors import BadArgument, InterfaceDown, NoRoute, OwnAddress
from netkat.flow import IPAddress, Protocol
from netkat.host.link import Link, link
from netkat.host.neighbor import known_mac
from netkat.host.route import Route, route_to

OWN_ADDRESS_HINT = "use nc for it, or ask from another host"


@dataclass(frozen=True, slots=True)
class Path:
    """The way to one destination. ``next_hop_mac`` is set where nobody need be asked for it."""

    link: Link
    source: IPAddress
    next_hop: IPAddress | None
    """Who gets our frames; the destination itself when it is on-link, None without Ethernet."""
    next_hop_mac: bytes | None
    mtu: int

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
    source: IPAddress | None = None,
    source_port: int = 0,
    interface: str | None = None,
    via: IPAddress | bytes | None = None,
) -> Path:
    """Ask the kernel for the flow's route, without changing anything.

    ``via`` replaces the next hop for this flow alone: an address on a link of
    this host, or a MAC.
    Errors: OwnAddress, NoRoute, InterfaceDown, InterfaceNotFound, BadArgument.
    """
    _refuse_pointless(destination, protocol)
    hop = via if via is not None and not isinstance(via, bytes) else None
    if hop is not None and hop.version != destination.version:
        raise BadArgument(f"--via {hop}: not of the same family as {destination}")
    route = _route(destination, hop, protocol, remote_port, source, source_port, interface)
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
    mtu = min(out.mtu, route.mtu or out.mtu)
    if not out.ethernet:
        return Path(out, route.source, None, None, mtu)
    next_hop = hop or route.gateway or destination
    mac = via if isinstance(via, bytes) else known_mac(out.index, next_hop)
    return Path(out, route.source, next_hop, mac, mtu)


def _route(
    destination: IPAddress,
    hop: IPAddress | None,
    protocol: Protocol,
    remote_port: int,
    source: IPAddress | None,
    source_port: int,
    interface: str | None,
) -> Route:
    if hop is not None:
        route = route_to(hop, source=source, interface=interface)
        if route.local:
            raise BadArgument(f"--via {hop}: an address of this very host")
        if route.gateway is not None:
            raise NoRoute(
                f"--via {hop}: not on a link of this host (the route to it goes by {route.gateway})",
                hint="a next hop is a neighbour: give an address of this host's own subnet, or a MAC",
            )
        return route
    route = route_to(
        destination,
        source=source,
        interface=interface,
        protocol=protocol,
        local_port=source_port,
        remote_port=remote_port,
    )
    if route.local:
        raise OwnAddress(
            f"{destination} is an address of this very host: no packet for it reaches a wire",
            hint=f"{OWN_ADDRESS_HINT}; --via sends it to a next hop all the same",
        )
    return route


def _refuse_pointless(destination: IPAddress, protocol: Protocol) -> None:
    if destination.is_loopback:
        raise OwnAddress(f"{destination} is loopback: no wire leads there", hint=OWN_ADDRESS_HINT)
    if destination.is_unspecified:
        raise BadArgument(f"{destination} is no destination")
    if protocol is Protocol.TCP and destination.is_multicast:
        raise BadArgument(f"{destination} is a multicast group: TCP has one peer")
