"""The routes of a listener's replies: all routes of packets from one address of this host.

A listener's peers are not known in advance, so RTM_GETROUTE cannot be used. The policy rules and
their tables are read and merged into one table of prefixes.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from netkat import netlink
from netkat.flow import IPAddress
from netkat.host.fib import TableRoute, table_routes
from netkat.host.ip_rules import LOCAL_TABLE, PolicyRule, rules_of
from netkat.host.routes import RTN_UNICAST

Network = IPv4Network | IPv6Network


def reply_routes(source: IPAddress, index: int) -> list[tuple[Network, IPAddress | None]]:
    """Return the networks that packets from an address reach by an interface, with their gateways.

    Rules are followed that select by source and destination prefix; a rule for marked, forwarded
    or single ports' packets is passed over. A destination that is routed by another interface is
    left out. Of two routes to one network it is the one with the lower metric.
    """
    found: list[tuple[Network, IPAddress | None]] = []
    decided: list[Network] = []
    """Destinations that an earlier rule has decided."""
    with netlink.Netlink() as kernel:
        for rule in rules_of(kernel, source.version):
            if rule.table == LOCAL_TABLE or not rule.selects_replies_from(source):
                continue
            here: list[Network] = []
            if rule.refuses:
                here = [rule.destination(source.version)]
            elif rule.leads_to_table:
                for network, route in _best(kernel, source.version, rule).items():
                    if any(_within(network, earlier) for earlier in decided):
                        continue
                    here.append(network)
                    hop = next((hop for hop in route.hops if hop.interface == index), None)
                    if hop is not None and _same_version(hop.gateway, source):
                        found.append((network, hop.gateway))
            decided += here
    return found


def _best(kernel: netlink.Netlink, version: int, rule: PolicyRule) -> dict[Network, TableRoute]:
    """The routes of a rule's table, each to what the rule selects of its network."""
    best: dict[Network, TableRoute] = {}
    selected = rule.destination(version)
    for route in table_routes(kernel, version, rule.table):
        if route.kind != RTN_UNICAST or route.source_length:
            continue
        if rule.suppresses(route.prefix_length):
            continue
        network = _network(route.prefix, route.prefix_length)
        if not _within(network, selected):
            if not _within(selected, network):
                continue
            network = selected
        if network not in best or _rank(route) < _rank(best[network]):
            best[network] = route
    return best


def _rank(route: TableRoute) -> tuple[int, int]:
    """The longer prefix first, which counts where the rule selects a part of two networks."""
    return -route.prefix_length, route.metric


def _same_version(gateway: IPAddress | None, source: IPAddress) -> bool:
    return gateway is None or gateway.version == source.version


def _within(network: Network, other: Network) -> bool:
    return network.subnet_of(other)  # type: ignore[arg-type]


def _network(prefix: bytes, length: int) -> Network:
    if len(prefix) == 4:
        return IPv4Network((prefix, length), strict=False)
    return IPv6Network((prefix, length), strict=False)
