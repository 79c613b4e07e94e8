"""VXLAN, once with ARP and learning, once with fixed neighbours as flannel has it."""

from __future__ import annotations

from tests.helpers.exchange import exchange_all
from tests.helpers.netns import Host, Pair

MAC = {1: "02:00:77:00:00:01", 2: "02:00:77:00:00:02"}


def overlay(side: Host, other: Host, number: int, extra: str) -> None:
    side.ip(
        f"link add vx0 type vxlan id 7 dstport 4789 local {side.ipv4} dev eth0 {extra}",
        f"link set vx0 address {MAC[number]}",
        f"addr add 10.77.0.{number}/24 dev vx0",
        f"addr add fd77::{number}/64 dev vx0 nodad",
        "link set vx0 up",
    )


def test_vxlan(pair: Pair) -> None:
    overlay(pair.host, pair.peer, 1, f"remote {pair.peer.ipv4}")
    overlay(pair.peer, pair.host, 2, f"remote {pair.host.ipv4}")
    addresses = {4: "10.77.0.2", 6: "fd77::2"}
    exchange_all(pair.host, pair.peer, addresses, server_interface="vx0")


def test_vxlan_with_fixed_neighbours(pair: Pair) -> None:
    """Nobody answers ARP there: only the kernel's permanent entries know a MAC."""
    ends = {1: pair.host, 2: pair.peer}
    for number, side in ends.items():
        there, other = 3 - number, ends[3 - number]
        overlay(side, other, number, "nolearning")
        side.ip(
            f"neigh add 10.77.0.{there} lladdr {MAC[there]} dev vx0 nud permanent",
            f"neigh add fd77::{there} lladdr {MAC[there]} dev vx0 nud permanent",
        )
        side.run(["bridge", "fdb", "add", MAC[there], "dev", "vx0", "dst", other.ipv4])
    addresses = {4: "10.77.0.2", 6: "fd77::2"}
    exchange_all(pair.host, pair.peer, addresses, server_interface="vx0")
