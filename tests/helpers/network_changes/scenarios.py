"""What changes in the network, one function for each scenario."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.helpers.netns import Namespace
from tests.helpers.network_changes.forms import FORMS
from tests.helpers.network_changes.lab import FAR, GATEWAYS, RULED, Lab
from tests.helpers.network_changes.run import GATEWAY_1, GATEWAY_2, SECOND_LINK, Run

OUTAGE = 1.2
"""Seconds that a link, an address or an interface is away."""

Scenario = Callable[[Run], None]


def link_down_and_up(run: Run) -> None:
    run.ip("link set eth0 down")
    time.sleep(OUTAGE)
    run.ip("link set eth0 up")
    _restore(run)
    run.compare(GATEWAY_1, idle=True)


def carrier_lost_and_back(run: Run) -> None:
    ports = [node.port for node in run.nodes]
    run.lab.switch.ip(*(f"link set {port} down" for port in ports))
    time.sleep(OUTAGE)
    run.lab.switch.ip(*(f"link set {port} up" for port in ports))
    run.compare(GATEWAY_1, idle=True)


def own_mac_changed(run: Run) -> None:
    run.ip("link set eth0 address 02:77:00:00:01:{n}")
    run.compare(GATEWAY_1, idle=True)


def next_hop_mac_changed(run: Run) -> None:
    _change_gateway_mac(run)
    run.compare(GATEWAY_1, idle=True)


def next_hop_mac_announced_by_request(run: Run) -> None:
    _change_gateway_mac(run)
    run.lab.announce(0, reply=False)
    run.margin = 1.0
    run.compare(GATEWAY_1, idle=True)


def next_hop_mac_announced_by_reply(run: Run) -> None:
    _change_gateway_mac(run)
    run.lab.announce(0, reply=True)
    run.margin = 1.0
    run.compare(GATEWAY_1, idle=True)


def route_replaced(run: Run) -> None:
    run.ip(_route(run, "replace", "via " + GATEWAYS[run.version][1]))
    run.compare(GATEWAY_2, idle=True)


def route_replaced_by_other_interface(run: Run) -> None:
    _replace_by_second_link(run)
    run.compare(SECOND_LINK, idle=True, forms=set(FORMS) - {"listener"})


def better_route_added_and_removed(run: Run) -> None:
    host = "10.80.0.1/32" if run.version == 4 else "fd80::1/128"
    route = f"route {{}} {host} via {GATEWAYS[run.version][1]}"
    run.ip(route.format("add"))
    run.compare(GATEWAY_2)
    run.ip(route.format("del"))
    run.compare(GATEWAY_1, idle=True)


def policy_rule_added(run: Run) -> None:
    run.ip(f"rule add to {FAR[run.version]} table {RULED}")
    run.compare(GATEWAY_2, idle=True)


def source_address_removed_and_returned(run: Run) -> None:
    length = 24 if run.version == 4 else 64
    for node in run.nodes:
        own, other = node.addresses[run.version], node.other_addresses[run.version]
        word = "nodad" if run.version == 6 else ""
        node.space.ip(
            f"addr del {own}/{length} dev eth0", f"addr add {other}/{length} dev eth0 {word}"
        )
        node.restore_routes(run.version)
    removed = time.monotonic()
    run.compare(GATEWAY_1, forms=("new", "stack"))
    time.sleep(OUTAGE)
    run.check_send_fails(removed + 0.2)
    for node in run.nodes:
        node.restore_addresses(run.version)
    run.compare(GATEWAY_1, idle=True)


def mtu_lowered_and_raised(run: Run) -> None:
    low, high = 1300, 1500
    for gateway in run.lab.gateways:
        gateway.ip(f"link set lan mtu {low}")
    run.ip(f"link set eth0 mtu {low}")
    changed = time.monotonic()
    run.compare(GATEWAY_1)
    run.check_largest(changed + 0.3, at_most=low)
    for gateway in run.lab.gateways:
        gateway.ip(f"link set lan mtu {high}")
    run.ip(f"link set eth0 mtu {high}")
    run.compare(GATEWAY_1, idle=True)
    run.check_largest(time.monotonic() - 0.5, at_most=high, more_than=low)


def interface_renamed(run: Run) -> None:
    run.ip("link set eth0 name wan0")
    run.compare(GATEWAY_1, idle=True)


def interface_recreated(run: Run) -> None:
    deleted = time.monotonic()
    run.ip("link del eth0")
    run.check_ended(deleted, "InterfaceGone")
    for node in run.nodes:
        run.lab.connect_node(node)
    run.compare(GATEWAY_1, forms=("new", "stack", "listener"))


def default_route_changed(run: Run) -> None:
    run.ip(f"route replace default via {GATEWAYS[run.version][1]}")
    run.compare(GATEWAY_2, idle=True)


def use_default_route(lab: Lab) -> None:
    """Before the start: the peer is reached by the default route."""
    for node in lab.nodes.values():
        for version in (4, 6):
            node.ip(
                version,
                f"route add default via {GATEWAYS[version][0]}",
                f"route del {FAR[version]}",
            )


def router_advertised(run: Run) -> None:
    run.lab.advertise_router(0, lifetime=0)
    run.lab.advertise_router(1, lifetime=1800)
    run.compare(GATEWAY_2, idle=True)


def use_advertised_route(lab: Lab) -> None:
    """Before the start: the default route comes from gateway 1's advertisement."""
    for node in lab.nodes.values():
        node.space.sysctl("net.ipv6.conf.eth0.accept_ra", 1)
        node.ip(6, "route del fd80::/64")
    lab.advertise_router(0, lifetime=1800)
    for node in lab.nodes.values():
        _wait_default_route(node.space)


def router_advertised_to_a_forwarding_node(run: Run) -> None:
    run.lab.advertise_router(1, lifetime=1800)
    run.compare(GATEWAY_1, idle=True)


def forward(lab: Lab) -> None:
    """Before the start: the nodes are routers, with a static default route of a poor metric."""
    for node in lab.nodes.values():
        node.space.sysctl("net.ipv6.conf.all.forwarding", 1)
        node.space.sysctl("net.ipv6.conf.eth0.accept_ra", 1)
        node.ip(6, f"route add default via {GATEWAYS[6][0]} metric 4096")
        node.ip(6, "route del fd80::/64")


BEFORE: dict[Scenario, Callable[[Lab], None]] = {
    default_route_changed: use_default_route,
    router_advertised: use_advertised_route,
    router_advertised_to_a_forwarding_node: forward,
}
"""How the network is made where it is not as usual."""

BOTH: tuple[Scenario, ...] = (
    link_down_and_up,
    carrier_lost_and_back,
    own_mac_changed,
    next_hop_mac_changed,
    next_hop_mac_announced_by_request,
    next_hop_mac_announced_by_reply,
    route_replaced,
    route_replaced_by_other_interface,
    better_route_added_and_removed,
    policy_rule_added,
    source_address_removed_and_returned,
    mtu_lowered_and_raised,
    interface_renamed,
    interface_recreated,
    default_route_changed,
)
IPV6: tuple[Scenario, ...] = (router_advertised, router_advertised_to_a_forwarding_node)


def _route(run: Run, verb: str, target: str) -> str:
    return f"route {verb} {FAR[run.version]} {target}"


def _replace_by_second_link(run: Run) -> None:
    for node in run.nodes:
        node.ip(run.version, _route(run, "replace", f"via {node.second[run.version]} dev eth1"))


def _change_gateway_mac(run: Run) -> None:
    # The kernel ignores an announcement within a second of the last one (arp: locktime).
    time.sleep(1.1)
    run.lab.gateway_macs[0] = "02:77:00:00:02:02"
    run.lab.gateways[0].ip(f"link set lan address {run.lab.gateway_macs[0]}")


def _restore(run: Run) -> None:
    """As a network manager does: a link that goes down loses routes, and IPv6 addresses."""
    for node in run.nodes:
        for version in (4, 6):
            node.restore_addresses(version)
            node.restore_routes(version)


def _wait_default_route(space: Namespace) -> None:
    end = time.monotonic() + 5
    while "default" not in space.run(["ip", "-6", "route"]).stdout:
        assert time.monotonic() < end, "the advertisement had no effect"
        time.sleep(0.02)
