"""Longest-prefix match in one of the kernel's routing tables, in user space.

RTM_GETROUTE always applies the policy rules; it cannot use one table or omit one.
So the table is dumped and matched here, which is slow on a large table. A plain
connect does not need it.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from netkat import netlink
from netkat.errors import BadArgument, InterfaceNotFound
from netkat.flow import IPAddress
from netkat.host.links import InterfaceAddress, addresses, link
from netkat.host.routes import (
    RTA_DST,
    RTA_METRICS,
    RTA_MULTIPATH,
    RTA_NH_ID,
    RTA_OIF,
    RTA_PREFSRC,
    RTA_PRIORITY,
    RTA_SRC,
    RTA_TABLE,
    RTM_GETROUTE,
    RTMSG,
    RTN_UNICAST,
    Route,
    foreign_source,
    is_own,
    metrics_mtu,
    no_route,
    unpack_address,
    via,
)

_NAMED_TABLES = {"default": 253, "main": 254, "local": 255}
_NAMES = ("/usr/lib/iproute2", "/usr/share/iproute2", "/etc/iproute2")
"""Where iproute2 looks; a later one counts more."""
_LAST_TABLE = 0xFFFFFFFF

_REFUSALS = {6: "blackhole", 7: "unreachable", 8: "prohibit"}
_RTN_THROW = 9
_RTM_GETNEXTHOP = 106
_NHA_GROUP, _NHA_BLACKHOLE, _NHA_OIF, _NHA_GATEWAY, _NHA_ID = 2, 4, 5, 6, 1
_NHMSG = struct.Struct("=BBBBI")
_RTNEXTHOP = struct.Struct("=HBBi")
_RTNH_F_DEAD, _RTNH_F_ONLINK, _RTNH_F_LINKDOWN = 0x1, 0x4, 0x10


class Hop(NamedTuple):
    """One next hop of a route."""

    interface: int
    """Its index."""
    gateway: IPAddress | None
    flags: int


class TableRoute(NamedTuple):
    """One route of a table; ``kind`` is RTN_*."""

    prefix: bytes
    prefix_length: int
    source_prefix: bytes
    source_length: int
    metric: int
    kind: int
    hops: tuple[Hop, ...]
    preferred_source: IPAddress | None
    mtu: int | None


def table_number(table: int | str) -> int:
    """A routing table by number, by its name in iproute2's rt_tables, or by its VRF's interface.

    Errors: BadArgument.
    """
    if isinstance(table, int) or (table.isascii() and table.isdigit()):
        number = int(table)
        if not 0 < number <= _LAST_TABLE:
            raise BadArgument(f"routing table {table}: tables go from 1 to {_LAST_TABLE}")
        return number
    names = dict(_NAMED_TABLES)
    for folder in _NAMES:
        for path in sorted(Path(folder).glob("rt_tables")) + sorted(
            Path(folder).glob("rt_tables.d/*.conf")
        ):
            names |= _names(path)
    if table in names:
        return names[table]
    of_vrf = _vrf_table(table)
    if of_vrf is None:
        raise BadArgument(
            f"no routing table or VRF named {table!r}",
            hint="list VRFs: ip vrf show; or pass the table's number",
        )
    return of_vrf


def vrf(name: int | str) -> str:
    """The interface of a VRF, to bind a socket to. Errors: BadArgument."""
    if isinstance(name, str) and _vrf_table(name) is not None:
        return name
    raise BadArgument(
        f"-V {name} is not a VRF: a kernel socket uses the policy rules or a VRF's table",
        hint="list VRFs: ip vrf show; or omit --kernel to use any table",
    )


def _vrf_table(name: str) -> int | None:
    try:
        return link(name).vrf_table
    except InterfaceNotFound:
        return None


def _names(path: Path) -> dict[str, int]:
    found = {}
    for line in path.read_text(errors="replace").splitlines():
        number, *words = line.partition("#")[0].split() or [""]
        if number.isdigit() and words:
            found[words[0]] = int(number)
    return found


def route_in_table(
    destination: IPAddress,
    table: int,
    *,
    source: IPAddress | None = None,
    index: int | None = None,
) -> Route:
    """The route of one table, as if no rule had chosen it.

    Errors: NoRoute, BadArgument (a source that is not this host's).
    """
    with netlink.Netlink() as kernel:
        found = lookup(kernel, destination, table, source=source, index=index)
        if found is None:
            fault = no_route(destination, f"no match in routing table {table}")
            family = "" if destination.version == 4 else " -6"
            fault.hint = f"list its routes: ip{family} route show table {table}"
            raise fault
        return resolve_route(kernel, destination, found, table, source=source, index=index)


def lookup(
    kernel: netlink.Netlink,
    destination: IPAddress,
    table: int,
    *,
    source: IPAddress | None = None,
    index: int | None = None,
    held_on: frozenset[int] = frozenset(),
) -> TableRoute | None:
    """Return the best match; None if the table has none, or only a throw route.

    Addresses of this host, which a VRF's table holds too, are passed over. So is
    a host route to an interface among ``held_on``, those that hold the destination
    itself: IPv6 puts such a one beside every address (addrconf_prefix_route).
    """
    best: TableRoute | None = None
    for route in table_routes(kernel, destination.version, table):
        if not covers(route.prefix, route.prefix_length, destination.packed):
            continue
        if route.source_length and (
            source is None or not covers(route.source_prefix, route.source_length, source.packed)
        ):
            continue
        if route.kind == RTN_UNICAST and not _usable(route, index):
            continue
        own = route.prefix_length == destination.max_prefixlen
        if own and any(hop.interface in held_on and hop.gateway is None for hop in route.hops):
            continue
        if route.kind != RTN_UNICAST and route.kind not in (*_REFUSALS, _RTN_THROW):
            continue
        if best is None or _rank(route) < _rank(best):
            best = route
    return None if best is None or best.kind == _RTN_THROW else best


def resolve_route(
    kernel: netlink.Netlink,
    destination: IPAddress,
    found: TableRoute,
    table: int,
    *,
    source: IPAddress | None = None,
    index: int | None = None,
) -> Route:
    """A table's route as an answer, with the source that the kernel would take.

    Of several next hops it is the first that is alive: the kernel's hash is its own.
    Errors: NoRoute, BadArgument.
    """
    if found.kind in _REFUSALS:
        raise no_route(destination, f"its route is of type {_REFUSALS[found.kind]}")
    if source is not None and not is_own(source):
        raise foreign_source(source)
    hop = next(_alive(found, index))
    name = link(hop.interface).name
    source = source or found.preferred_source or _source(destination, hop)
    if source is None:
        raise no_route(
            destination, f"this host has no IPv{destination.version} address for it", name
        )
    return Route(
        interface=name,
        index=hop.interface,
        source=source,
        gateway=hop.gateway,
        mtu=found.mtu,
        local=False,
        table=table,
        onlink=bool(hop.flags & _RTNH_F_ONLINK),
    )


def covers(prefix: bytes, length: int, packed: bytes) -> bool:
    """Whether the first ``length`` bits are the same."""
    shift = len(packed) * 8 - length
    return int.from_bytes(prefix, "big") >> shift == int.from_bytes(packed, "big") >> shift


def _rank(route: TableRoute) -> tuple[int, int, int]:
    return -route.prefix_length, -route.source_length, route.metric


def _usable(route: TableRoute, index: int | None) -> bool:
    return next(_alive(route, index), None) is not None


def _alive(route: TableRoute, index: int | None) -> Iterator[Hop]:
    for hop in route.hops:
        if hop.flags & (_RTNH_F_DEAD | _RTNH_F_LINKDOWN) == 0 and index in (None, hop.interface):
            yield hop


def table_routes(kernel: netlink.Netlink, version: int, table: int) -> Iterator[TableRoute]:
    """Every route of one table, of IP version 4 or 6; none where there is no such table."""
    family, bits = (socket.AF_INET, 32) if version == 4 else (socket.AF_INET6, 128)
    body = RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
    body += netlink.attribute(RTA_TABLE, netlink.pack_u32(table))
    try:
        answers = kernel.dump(RTM_GETROUTE, body)
    except netlink.NetlinkError as error:
        if error.errno == errno.ENOENT:  # no such table: the same as an empty one
            return
        raise
    anything = bytes(bits // 8)
    for answer in answers:
        _, length, source_length, tos, low_table, _, _, kind, flags = RTMSG.unpack_from(answer)
        found = netlink.attributes(answer, RTMSG.size)
        # Before Linux 4.20 the dump holds every table.
        if tos or (netlink.u32(found[RTA_TABLE]) if RTA_TABLE in found else low_table) != table:
            continue
        hops = tuple(_hops(kernel, found, flags))
        preferred = found.get(RTA_PREFSRC)
        yield TableRoute(
            prefix=found.get(RTA_DST, anything),
            prefix_length=length,
            source_prefix=found.get(RTA_SRC, anything),
            source_length=source_length,
            metric=netlink.u32(found[RTA_PRIORITY]) if RTA_PRIORITY in found else 0,
            kind=kind,
            hops=hops,
            preferred_source=unpack_address(preferred) if preferred else None,
            mtu=metrics_mtu(found) if RTA_METRICS in found else None,
        )


def _hops(kernel: netlink.Netlink, found: dict[int, bytes], flags: int) -> Iterator[Hop]:
    if RTA_OIF in found:
        yield Hop(netlink.u32(found[RTA_OIF]), via(found), flags)
    elif RTA_MULTIPATH in found:
        data, offset = found[RTA_MULTIPATH], 0
        while offset + _RTNEXTHOP.size <= len(data):
            length, hop_flags, _, index = _RTNEXTHOP.unpack_from(data, offset)
            if length < _RTNEXTHOP.size:
                return
            inside = netlink.attributes(data[offset + _RTNEXTHOP.size : offset + length])
            yield Hop(index, via(inside), hop_flags)
            offset += length + 3 & ~3
    elif RTA_NH_ID in found:
        # Only the id, where net.ipv4.nexthop_compat_mode is 0.
        yield from _nexthop_object(kernel, netlink.u32(found[RTA_NH_ID]))


def _nexthop_object(kernel: netlink.Netlink, number: int) -> Iterator[Hop]:
    wanted = netlink.attribute(_NHA_ID, netlink.pack_u32(number))
    answer = kernel.get(_RTM_GETNEXTHOP, _NHMSG.pack(0, 0, 0, 0, 0) + wanted)
    flags = _NHMSG.unpack_from(answer)[4]
    found = netlink.attributes(answer, _NHMSG.size)
    if _NHA_GROUP in found:
        group = found[_NHA_GROUP]
        # struct nexthop_grp: id, weight and padding; groups hold no groups.
        for offset in range(0, len(group), 8):
            yield from _nexthop_object(kernel, netlink.u32(group[offset : offset + 4]))
    elif _NHA_OIF in found and _NHA_BLACKHOLE not in found:
        gateway = found.get(_NHA_GATEWAY)
        yield Hop(netlink.u32(found[_NHA_OIF]), unpack_address(gateway) if gateway else None, flags)


def _source(destination: IPAddress, hop: Hop) -> IPAddress | None:
    """As inet_select_addr: of the interface, in the next hop's subnet where there is such a one."""
    towards = hop.gateway or destination
    usable = [
        own
        for own in addresses()
        if own.address.version == destination.version
        and own.address.packed != destination.packed
        and not own.tentative
        and not own.address.is_loopback
        and not own.address.is_link_local
    ]

    def rank(own: InterfaceAddress) -> tuple[bool, bool, bool]:
        near = towards.version == own.address.version and covers(
            own.address.packed, own.prefix_length, towards.packed
        )
        return own.index != hop.interface, not near, own.deprecated

    return min(usable, key=rank).address if usable else None
