"""Bridges: an address on a bridge that the interface is a port of, and a bridge on the way."""

from __future__ import annotations

from tests.helpers.exchange import exchange_all
from tests.helpers.netns import Pair, join, namespace, netns_pair


def test_port_of_the_hosts_bridge(pair: Pair) -> None:
    """As on a node whose network card is a port of its bridge: the addresses are the bridge's."""
    host = pair.host
    host.ip(
        f"addr flush dev {host.interface}",
        "link add br0 type bridge",
        f"link set br0 address {host.mac}",
        f"link set {host.interface} master br0",
        f"addr add {host.ipv4}/24 dev br0",
        f"addr add {host.ipv6}/64 dev br0 nodad",
        "link set br0 up",
    )
    exchange_all(host, pair.peer, {4: pair.peer.ipv4, 6: pair.peer.ipv6})


def test_port_of_a_nodes_bridge() -> None:
    """As in a container: the other end of the veth is a port of the node's bridge."""
    with netns_pair("nkl") as pair, namespace("nkl", "node") as node:
        for side, name in ((pair.host, "port1"), (pair.peer, "port2")):
            side.ip("link del eth0") if side is pair.host else None
            join(side, node, b_name=name)
            side.ip(
                f"link set eth0 address {side.mac}",
                f"addr add {side.ipv4}/24 dev eth0",
                f"addr add {side.ipv6}/64 dev eth0 nodad",
                "link set eth0 up",
            )
        node.ip(
            "link add br0 type bridge",
            "link set port1 master br0",
            "link set port2 master br0",
            "link set port1 up",
            "link set port2 up",
            "link set br0 up",
        )
        exchange_all(pair.host, pair.peer, {4: pair.peer.ipv4, 6: pair.peer.ipv6})
