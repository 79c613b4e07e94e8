"""Facts of this host that decide over the probe's packets: routes, neighbours, sysctls."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from netkat.diagnose.why.evidence import Host
from netkat.errors import NetkatError
from netkat.flow import IPAddress, Protocol
from netkat.host.links import addresses, link
from netkat.host.neighbors import neighbor
from netkat.host.routes import Route, is_own, route_to

_ANYWHERE: dict[int, IPAddress] = {4: IPv4Address("192.0.2.1"), 6: IPv6Address("2001:db8::1")}
"""For documentation (RFC 5737, RFC 3849), so only a default route leads there."""
_SYSCTL = Path("/proc/sys/net")


def towards(
    address: IPAddress, protocol: Protocol, port: int, interface: str | None = None
) -> Host:
    """The host's facts for a packet that it sends to this target."""
    facts = replace(_named(), local=is_own(address))
    if facts.local:
        facts = replace(facts, local_interface=_holder(address))
    try:
        route = route_to(address, protocol=protocol, remote_port=port, interface=interface)
    except NetkatError as error:
        return replace(facts, route_error=str(error))
    return _with_route(facts, route, address)


def receiving(interface: str, client: IPAddress, address: IPAddress) -> Host:
    """The host's facts for a packet of ``client`` that arrives on an interface."""
    facts = replace(_named(), local=is_own(address), interface=interface)
    facts = replace(facts, rp_filter=_rp_filter(interface), ip_forward=_forwards(address.version))
    with suppress(NetkatError):
        facts = replace(facts, interface_kind=link(interface).kind)
    with suppress(NetkatError):
        facts = replace(facts, reverse_interface=route_to(client).interface)
    try:
        route = route_to(address)
    except NetkatError as error:
        return replace(facts, route_error=str(error))
    gateway = "" if route.gateway is None else str(route.gateway)
    return replace(facts, gateway=gateway, table=route.table, route_kind=route.kind)


def _named() -> Host:
    return Host(name=os.uname().nodename.partition(".")[0])


def _with_route(facts: Host, route: Route, address: IPAddress) -> Host:
    hop = route.gateway or address
    known = None if route.local else neighbor(route.index, hop)
    return replace(
        facts,
        interface=route.interface,
        interface_kind=link(route.index).kind,
        source=str(route.source),
        gateway="" if route.gateway is None else str(route.gateway),
        table=route.table,
        route_kind=route.kind,
        specific_route=_specific(route),
        next_hop_mac="" if known is None or known.mac is None else known.mac.hex(":"),
        next_hop_state="" if known is None else known.state.name.lower(),
        ip_forward=_forwards(address.version),
        rp_filter=_rp_filter(route.interface),
    )


def _holder(address: IPAddress) -> str:
    """The interface that has an address; "" where a route alone makes it local."""
    for own in addresses():
        if own.address.packed == address.packed:
            return link(own.index).name
    return ""


def _specific(route: Route) -> bool:
    """Whether it is another route than the default one. The table is not read for it."""
    if route.gateway is None:
        return True
    try:
        default = route_to(_ANYWHERE[route.gateway.version])
    except NetkatError:
        return True
    return (default.interface, default.gateway) != (route.interface, route.gateway)


def _rp_filter(interface: str) -> int:
    return max(_number(f"ipv4/conf/{name}/rp_filter") for name in ("all", interface))


def _forwards(version: int) -> bool:
    return bool(_number("ipv4/ip_forward" if version == 4 else "ipv6/conf/all/forwarding"))


def _number(name: str) -> int:
    try:
        return int((_SYSCTL / name).read_text())
    except (OSError, ValueError):
        return 0
