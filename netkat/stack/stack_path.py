"""How the packets of a flow leave."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, NamedTuple

from netkat.stack import facts
from netkat.stack.codes import Code, check

if TYPE_CHECKING:
    from typing import TypeAlias

    from netkat.flow import IPAddress
    from netkat.stack.ffi import CData, Ffi
    from netkat.stack.netstack import Stack

    Network: TypeAlias = IPv4Network | IPv6Network
    RouteEntry: TypeAlias = tuple[Network, IPAddress | None]


class StackPath(NamedTuple):
    """A next hop, and the link that leads to it."""

    next_hop: IPAddress | None = None
    """None: the destination itself."""
    mac: bytes | None = None
    """Of the next hop; None has it resolved by ARP or neighbour discovery."""
    mtu: int = 0
    """IP MTU of the path in bytes; 0 is the link's."""
    link: Stack | None = None
    """The stack whose packet socket is used; None is the flow's own."""


def write_path(ffi: Ffi, path: StackPath | None) -> CData:
    """A gs_path; NULL for None. Errors: StackError (BAD_HANDLE) where the link is closed."""
    if path is None:
        return ffi.NULL
    raw = ffi.new("gs_path *")
    if path.link is not None:
        # 0 would be the flow's own link.
        raw.link = path.link.handle or check(Code.BAD_HANDLE)
    if path.next_hop is not None:
        raw.has_next_hop, raw.version = 1, path.next_hop.version
        raw.next_hop = facts.packed(path.next_hop)
    if path.mac is not None:
        raw.has_mac, raw.mac = 1, path.mac
    raw.mtu = path.mtu
    return raw


def write_routes(ffi: Ffi, table: Iterable[RouteEntry]) -> tuple[CData, int]:
    """An array of gs_route, and its length."""
    entries = list(table)
    raw = ffi.new(f"gs_route[{len(entries)}]")
    for one, (network, gateway) in zip(raw, entries, strict=True):
        one.version, one.prefix_length = network.version, network.prefixlen
        one.network = facts.packed(network.network_address)
        if gateway is not None:
            one.has_gateway, one.gateway = 1, facts.packed(gateway)
    return raw, len(entries)
