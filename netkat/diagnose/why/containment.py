"""The table that keeps an injected flow on this host, and traces it.

Made before anything is injected. Early in postrouting, the client's packets end unless they go to
an interface that leads to a local pod; late in postrouting, all that goes back to the client ends.
Both are in a table that belongs to the process, so it ends with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from netkat import netlink
from netkat.bpf import tc
from netkat.bpf.guard.ebpf_guard import NAME as GUARD
from netkat.bpf.guard.tcx import attached
from netkat.bpf.program import name_of
from netkat.diagnose.why.frames import Client
from netkat.diagnose.why.nft import build, uapi
from netkat.diagnose.why.nft.owned_table import Chain
from netkat.flow import IPAddress, Protocol
from netkat.host.fib import table_routes
from netkat.host.links import Link, links

_FIRST = -310
"""Before every table of the host: raw is at -300."""
_BEFORE_ALL = -2147483647
_AFTER_NAT = 310
_POD_LINKS = frozenset({"veth", "bridge", "netkit"})
_PORTS = frozenset({"veth", "netkit"})
_MAIN_TABLE = 254
_ICMP = {4: 1, 6: 58}


def chains(client: Client, pods: Iterable[int]) -> list[Chain]:
    """The table's chains for one client; ``pods`` are interfaces that lead to local pods."""
    there = (
        build.l4proto(client.protocol)
        + build.source_address(client.source)
        + build.source_port(client.source_port)
    )
    # Back from a masqueraded pod the client's address is there from the forward hook on.
    back = build.l4proto(client.protocol) + build.destination_port(client.source_port)
    errors = build.l4proto(_ICMP[client.source.version]) + build.destination_address(client.source)
    both = [there + build.trace(), back + build.trace()]
    answers = [back + build.trace(), errors + build.trace()]
    to_pods = [
        there + build.out_interface(index) + build.verdict(uapi.Verdict.ACCEPT) for index in pods
    ]
    drop = build.verdict(uapi.Verdict.DROP)
    home = back + build.destination_address(client.source)
    return [
        Chain("leaving", uapi.POSTROUTING, _BEFORE_ALL, [*to_pods, there + drop]),
        Chain("returning", uapi.POSTROUTING, _AFTER_NAT, [home + drop, errors + drop]),
        Chain("prerouting", uapi.PREROUTING, _FIRST, both),
        Chain("input", uapi.INPUT, _FIRST, both),
        Chain("forward", uapi.FORWARD, _FIRST, [*both, errors + build.trace()]),
        Chain("output", uapi.OUTPUT, _FIRST, answers),
    ]


def watching(client: IPAddress, address: IPAddress, port: int, protocol: Protocol) -> list[Chain]:
    """The table's chains for real packets of one client: they trace, and stop nothing."""
    there = (
        build.l4proto(protocol)
        + build.source_address(client)
        + build.destination_address(address)
        + build.destination_port(port)
        + build.trace()
    )
    back = build.l4proto(protocol) + build.destination_address(client) + build.trace()
    errors = (
        build.l4proto(_ICMP[client.version]) + build.destination_address(client) + build.trace()
    )
    return [
        Chain("prerouting", uapi.PREROUTING, _FIRST, [there]),
        Chain("input", uapi.INPUT, _FIRST, []),
        Chain("forward", uapi.FORWARD, _FIRST, [back, errors]),
        Chain("output", uapi.OUTPUT, _FIRST, [back, errors]),
        Chain("postrouting", uapi.POSTROUTING, _AFTER_NAT, []),
    ]


def pod_interfaces(arriving: int) -> list[int]:
    """Interfaces that can only lead to pods of this host.

    Never the one that the frame arrives on, one with a gateway behind it, or a bridge with a port
    that leaves the host: an interface that is not certain counts as one.
    """
    known, routers = {each.index: each for each in links()}, _with_gateway()
    return [
        index
        for index, each in known.items()
        if index != arriving and each.kind in _POD_LINKS and _local(each, known, routers)
    ]


def in_the_way(interface: int) -> list[str]:
    """Programs on the interface's ingress, which may send a frame out past netfilter."""
    found: list[str] = []
    with suppress(OSError):  # EINVAL before Linux 6.6, which has no tcx
        for number in attached(interface):
            name = name_of(number) or ""
            if name != GUARD:
                found.append(f"tcx program {number} {name}".rstrip())
    with netlink.Netlink() as kernel, suppress(netlink.NetlinkError):
        if tc.qdisc(kernel, interface) is not None:
            filters = tc.filters(kernel, interface)
            found += [str(each) for each in filters if GUARD not in str(each)]
    return found


def _local(each: Link, known: dict[int, Link], with_gateway: set[int]) -> bool:
    if each.master is not None or not each.up or each.index in with_gateway:
        return False
    ports = [one for one in known.values() if one.master == each.index]
    return all(port.kind in _PORTS for port in ports)


def _with_gateway() -> set[int]:
    """Interfaces that have a router behind them."""
    found: set[int] = set()
    with netlink.Netlink() as kernel:
        for version in (4, 6):
            for route in table_routes(kernel, version, _MAIN_TABLE):
                found |= {hop.interface for hop in route.hops if hop.gateway is not None}
    return found
