"""The policy rules (ip-rule(8)) walked here, without the local table.

A LoadBalancer address that IPVS has put on this node is in the local table, and
the rule of priority 0 sends every lookup there first. The kernel has no lookup
without it; so its rules are read and followed as net/core/fib_rules.c would, for
a packet that this host sends itself, unmarked.
"""

from __future__ import annotations

import os
import socket
import struct
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

from netkat import netlink
from netkat.flow import IPAddress, Protocol
from netkat.host.fib import covers, lookup, resolve_route
from netkat.host.links import addresses, link
from netkat.host.routes import Route, no_route

_RTM_GETRULE = 34
_FIB_RULE = struct.Struct("=BBBBBBBBI")
_FRA_DST, _FRA_SRC, _FRA_IIFNAME, _FRA_GOTO, _FRA_PRIORITY = 1, 2, 3, 4, 6
_FRA_FWMARK, _FRA_TUN_ID, _FRA_SUPPRESS_PREFIXLEN, _FRA_TABLE, _FRA_FWMASK = 10, 12, 14, 15, 16
_FRA_OIFNAME, _FRA_L3MDEV, _FRA_UID_RANGE, _FRA_IP_PROTO = 17, 19, 20, 22
_FRA_SPORT_RANGE, _FRA_DPORT_RANGE = 23, 24
_PORT_SELECTORS = frozenset((_FRA_IP_PROTO, _FRA_SPORT_RANGE, _FRA_DPORT_RANGE))
_FIB_RULE_INVERT = 2
_TO_TABLE, _GOTO = 1, 2
_REFUSALS = {6: "blackhole", 7: "unreachable", 8: "prohibit"}
LOCAL_TABLE = 255
_NO_SUPPRESSION = 0xFFFFFFFF
_RANGE = struct.Struct("=HH")


class _Packet(NamedTuple):
    """The fields of a packet that rules match."""

    destination: IPAddress
    source: IPAddress | None
    interface: str | None
    protocol: Protocol | None
    local_port: int
    remote_port: int


class PolicyRule(NamedTuple):
    """One policy rule; ``found`` are its attributes."""

    priority: int
    action: int
    flags: int
    destination_length: int
    source_length: int
    tos: int
    table: int
    found: dict[int, bytes]

    @property
    def refuses(self) -> bool:
        """Whether what it selects is not sent."""
        return self.action in _REFUSALS

    @property
    def leads_to_table(self) -> bool:
        """Whether ``table`` is looked in."""
        return self.action == _TO_TABLE

    def suppresses(self, prefix_length: int) -> bool:
        """Whether a route with a prefix that short is passed over."""
        limit = self.found.get(_FRA_SUPPRESS_PREFIXLEN)
        if limit is None or netlink.u32(limit) == _NO_SUPPRESSION:
            return False
        return prefix_length <= netlink.u32(limit)

    def destination(self, version: int) -> IPv4Network | IPv6Network:
        """The destinations that it selects."""
        if version == 4:
            packed = self.found.get(_FRA_DST, bytes(4))
            return IPv4Network((packed, self.destination_length), strict=False)
        packed = self.found.get(_FRA_DST, bytes(16))
        return IPv6Network((packed, self.destination_length), strict=False)

    def selects_replies_from(self, source: IPAddress) -> bool:
        """Whether it selects packets from an address to ``destination``, whatever their ports."""
        if self.flags & _FIB_RULE_INVERT or _PORT_SELECTORS & self.found.keys():
            return False
        anybody = _Packet(source, source, None, None, 0, 0)
        return self._replace(destination_length=0)._selects(anybody)

    def matches(self, packet: _Packet) -> bool:
        """As fib_rule_match; a rule that is inverted matches when its selectors do not."""
        return self._selects(packet) != bool(self.flags & _FIB_RULE_INVERT)

    def _selects(self, packet: _Packet) -> bool:
        found = self.found
        # Of this host's own packets the incoming interface is lo, the mark 0, and no tunnel.
        if _FRA_IIFNAME in found and netlink.text(found[_FRA_IIFNAME]) != "lo":
            return False
        if _FRA_OIFNAME in found and netlink.text(found[_FRA_OIFNAME]) != packet.interface:
            return False
        mask = netlink.u32(found[_FRA_FWMASK]) if _FRA_FWMASK in found else 0xFFFFFFFF
        if _FRA_FWMARK in found and netlink.u32(found[_FRA_FWMARK]) & mask:
            return False
        if self.tos or _FRA_TUN_ID in found or any(found.get(_FRA_L3MDEV, b"")):
            return False
        return (
            self._selects_user() and self._selects_addresses(packet) and self._selects_ports(packet)
        )

    def _selects_user(self) -> bool:
        if _FRA_UID_RANGE not in self.found:
            return True
        first, last = struct.unpack("=II", self.found[_FRA_UID_RANGE])
        return bool(first <= os.geteuid() <= last)

    def _selects_addresses(self, packet: _Packet) -> bool:
        if self.destination_length and not covers(
            self.found[_FRA_DST], self.destination_length, packet.destination.packed
        ):
            return False
        if not self.source_length:
            return True
        return packet.source is not None and covers(
            self.found[_FRA_SRC], self.source_length, packet.source.packed
        )

    def _selects_ports(self, packet: _Packet) -> bool:
        protocol = self.found.get(_FRA_IP_PROTO, b"\0")[0]
        if protocol and protocol != packet.protocol:
            return False
        for kind, port in (
            (_FRA_SPORT_RANGE, packet.local_port),
            (_FRA_DPORT_RANGE, packet.remote_port),
        ):
            if kind in self.found:
                first, last = _RANGE.unpack(self.found[kind])
                if not first <= port <= last:
                    return False
        return True


def walk_rules(
    destination: IPAddress,
    *,
    source: IPAddress | None = None,
    index: int | None = None,
    protocol: Protocol | None = None,
    local_port: int = 0,
    remote_port: int = 0,
) -> Route:
    """The route that the rules lead to when none may lead to the local table.

    Rules for VRFs (l3mdev) and for interface groups are passed over: give the
    VRF's table to route_to() instead.
    Errors: NoRoute, BadArgument (a source that is not this host's).
    """
    name = link(index).name if index is not None else None
    held_on = frozenset(
        own.index for own in addresses() if own.address.packed == destination.packed
    )
    packet = _Packet(destination, source, name, protocol, local_port, remote_port)
    with netlink.Netlink() as kernel:
        rules, at = rules_of(kernel, destination.version), 0
        for rule in rules:
            if rule.priority < at or rule.table == LOCAL_TABLE or not rule.matches(packet):
                continue
            if rule.action == _GOTO:
                at = netlink.u32(rule.found[_FRA_GOTO])
            if rule.action in _REFUSALS:
                kind = _REFUSALS[rule.action]
                raise no_route(destination, f"policy rule {rule.priority} is of type {kind}")
            if rule.action != _TO_TABLE:
                continue
            route = lookup(
                kernel, destination, rule.table, source=source, index=index, held_on=held_on
            )
            if route is None or rule.suppresses(route.prefix_length):
                continue
            return resolve_route(kernel, destination, route, rule.table, source=source, index=index)
    raise no_route(destination, "other than as a local address")


def rules_of(kernel: netlink.Netlink, version: int) -> list[PolicyRule]:
    """Every rule for an IP version, in the order of their priorities."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    rules = []
    for answer in kernel.dump(_RTM_GETRULE, _FIB_RULE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)):
        answered, destination_length, source_length, tos, table, _, _, action, flags = (
            _FIB_RULE.unpack_from(answer)
        )
        if answered != family:
            continue
        found = netlink.attributes(answer, _FIB_RULE.size)
        rules.append(
            PolicyRule(
                priority=netlink.u32(found[_FRA_PRIORITY]) if _FRA_PRIORITY in found else 0,
                action=action,
                flags=flags,
                destination_length=destination_length,
                source_length=source_length,
                tos=tos,
                table=netlink.u32(found[_FRA_TABLE]) if _FRA_TABLE in found else table,
                found=found,
            )
        )
    return sorted(rules, key=lambda rule: rule.priority)
