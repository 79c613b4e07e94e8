"""Random changes of the network, each undone before it returns."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from tests.helpers.netns import Namespace, Pair

OUTAGE = 0.3
"""Seconds that a link or an address is away."""

Change = Callable[[Pair], None]


def flap(pair: Pair) -> None:
    """Link down and up; the IPv6 address returns, as a network manager restores it."""
    side = pair.host
    side.ip(f"link set {side.interface} down")
    time.sleep(OUTAGE)
    side.ip(
        f"link set {side.interface} up", f"addr replace {side.ipv6}/64 dev {side.interface} nodad"
    )


def lose_carrier(pair: Pair) -> None:
    middle: Namespace = pair.extra["middle"]
    middle.ip("link set left down")
    time.sleep(OUTAGE)
    middle.ip("link set left up")


def change_own_mac(pair: Pair) -> None:
    _change_mac(pair.host.name, pair.host.interface, pair)


def change_peer_mac(pair: Pair) -> None:
    _change_mac(pair.peer.name, pair.peer.interface, pair)


def _change_mac(name: str, interface: str, pair: Pair) -> None:
    side = pair.host if name == pair.host.name else pair.peer
    octets = ":".join(f"{random.randrange(256):02x}" for _ in range(4))
    side.ip(f"link set {interface} address 02:5a:{octets}")


def lower_mtu(pair: Pair) -> None:
    side = pair.host
    side.ip(f"link set {side.interface} mtu 1400")
    time.sleep(OUTAGE)
    side.ip(f"link set {side.interface} mtu 1500")


def remove_address(pair: Pair) -> None:
    side = pair.host
    side.ip(f"addr del {side.ipv4}/24 dev {side.interface}")
    time.sleep(OUTAGE)
    side.ip(f"addr add {side.ipv4}/24 dev {side.interface}")


def add_rule(pair: Pair) -> None:
    side = pair.host
    network = side.ipv4.rpartition(".")[0] + ".0/24"
    side.ip(
        f"route add {network} dev {side.interface} table 77",
        f"rule add to {network} table 77",
    )
    time.sleep(OUTAGE)
    side.ip(f"rule del to {network} table 77", "route flush table 77")


CHANGES: tuple[Change, ...] = (
    flap,
    lose_carrier,
    change_own_mac,
    change_peer_mac,
    lower_mtu,
    remove_address,
    add_rule,
)
