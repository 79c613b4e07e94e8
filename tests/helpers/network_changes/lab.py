"""A network that can change: two nodes side by side, two gateways, a second link, a peer beyond.

    netkat node ── eth0 ─┐           ┌── gateway 1 ──┐
                         ├─ switch ──┤               ├── peer (10.80.0.1, fd80::1 on lo)
    kernel node ── eth0 ─┘           └── gateway 2 ──┘     │
         └────────── eth1, of each node ───────────────────┘

netkat runs in one node and the kernel's sockets in the other, so that neither profits from
what the other does (a neighbour entry, a route cache). A change is applied to both.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.helpers import netns
from tests.helpers.netns import Namespace

PEER = {4: "10.80.0.1", 6: "fd80::1"}
FAR = {4: "10.80.0.0/24", 6: "fd80::/64"}
LAN = {4: "10.77.0.0/24", 6: "fd77::/64"}
GATEWAYS = {4: ("10.77.0.2", "10.77.0.3"), 6: ("fd77::2", "fd77::3")}
LIBRARIES = ("netkat", "kernel")
RULED = 77
"""A routing table that leads through gateway 2; nothing uses it until a rule does."""

_QUIET = {
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
    "net.ipv4.conf.all.send_redirects": 0,
    "net.ipv4.conf.default.send_redirects": 0,
    "net.ipv4.conf.all.accept_redirects": 0,
    "net.ipv6.conf.all.accept_redirects": 0,
}


@dataclass
class Node:
    """One of the two; ``number`` is the last part of its addresses."""

    space: Namespace
    library: str
    number: int
    mac: str
    addresses: dict[int, str] = field(init=False)
    other_addresses: dict[int, str] = field(init=False)
    """Those of the scenario that removes the first ones."""
    second: dict[int, str] = field(init=False)
    """The peer's address on the node's second link, a next hop."""

    def __post_init__(self) -> None:
        n = self.number
        self.addresses = {4: f"10.77.0.{n}", 6: f"fd77::{n}"}
        self.other_addresses = {4: f"10.77.0.{n + 100}", 6: f"fd77::{n + 100}"}
        self.second = {4: f"10.{80 + n}.1.2", 6: f"fd{80 + n}:1::2"}

    @property
    def port(self) -> str:
        """The switch's interface that leads to the node."""
        return f"node{self.number}"

    @property
    def direct(self) -> str:
        """The peer's interface that leads to the node's second link."""
        return f"direct{self.number}"

    def restore_addresses(self, version: int) -> None:
        """Give eth0 its address back where it has been removed."""
        word = "nodad" if version == 6 else ""
        length = 24 if version == 4 else 64
        self.space.ip(f"addr replace {self.addresses[version]}/{length} dev eth0 {word}")

    def restore_routes(self, version: int) -> None:
        """Give the routes through gateway 1 (and the table through gateway 2) back."""
        one, two = GATEWAYS[version]
        self.ip(
            version,
            f"route replace {FAR[version]} via {one}",
            f"route replace {FAR[version]} via {two} table {RULED}",
        )

    def ip(self, version: int, *commands: str) -> None:
        """ip(8) commands inside, of one family."""
        text = "".join(f"{command}\n" for command in commands)
        self.space.run(["ip", f"-{version}", "-batch", "-"], input=text)


@dataclass
class Lab:
    """The namespaces, and what the scenarios do to them."""

    nodes: dict[str, Node]
    switch: Namespace
    gateways: tuple[Namespace, Namespace]
    peer: Namespace
    gateway_macs: list[str] = field(
        default_factory=lambda: [f"02:77:00:00:00:0{n}" for n in (2, 3)]
    )

    def connect_node(self, node: Node) -> None:
        """Make the node's eth0, and its other end at the switch."""
        netns.ip_batch(
            [
                f"link add eth0 address {node.mac} netns {node.space.name} type veth"
                f" peer name {node.port} netns {self.switch.name}"
            ]
        )
        self.switch.ip(f"link set {node.port} master br0", f"link set {node.port} up")
        node.space.ip("link set eth0 up")
        for version in (4, 6):
            node.restore_addresses(version)
            node.restore_routes(version)

    def second_mac(self, node: Node) -> str:
        """The MAC of the peer on the node's second link."""
        return f"02:81:00:00:00:{node.number:02x}"

    def announce(self, number: int, *, reply: bool) -> None:
        """Send a gratuitous ARP and an unsolicited neighbour advertisement from a gateway."""
        mac = bytes.fromhex(self.gateway_macs[number].replace(":", ""))
        self.gateways[number].call(lambda: _announce(mac, number, reply))

    def advertise_router(self, number: int, *, lifetime: int) -> None:
        """Send a router advertisement from a gateway; ``lifetime`` 0: no default router now."""
        self.gateways[number].call(lambda: _advertise_router(lifetime))


@contextmanager
def lab(prefix: str) -> Iterator[Lab]:
    """A lab, made and removed."""
    with ExitStack() as undo:
        names = ("node", "twin", "switch", "gwa", "gwb", "peer")
        spaces = [undo.enter_context(netns.namespace(prefix, name)) for name in names]
        ours, theirs, switch, first, second, peer = spaces
        nodes = {
            "netkat": Node(ours, "netkat", 10, "02:77:00:00:00:10"),
            "kernel": Node(theirs, "kernel", 11, "02:77:00:00:00:11"),
        }
        for space in spaces:
            space.call(_quieten)
        made = Lab(nodes, switch, (first, second), peer)
        switch.ip("link add br0 type bridge forward_delay 0 mcast_snooping 0", "link set br0 up")
        peer.ip(*(f"addr add {PEER[v]}/{32 if v == 4 else 128} dev lo" for v in (4, 6)))
        for number, gateway in enumerate(made.gateways):
            _connect_gateway(made, number, gateway)
        for node in nodes.values():
            _connect_second_link(made, node)
            made.connect_node(node)
        for node in nodes.values():
            netns.wait_usable(node.space, "eth0")
        yield made


def _connect_gateway(made: Lab, number: int, gateway: Namespace) -> None:
    n = number + 2
    for version in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
        gateway.sysctl(f"net.{version}", 1)
    netns.ip_batch(
        [
            f"link add lan address {made.gateway_macs[number]} netns {gateway.name} type veth"
            f" peer name gw{n} netns {made.switch.name}",
            f"link add wan netns {gateway.name} type veth peer name wan{n} netns {made.peer.name}",
        ]
    )
    made.switch.ip(f"link set gw{n} master br0", f"link set gw{n} up")
    gateway.ip(
        f"addr add 10.77.0.{n}/24 dev lan",
        f"addr add fd77::{n}/64 dev lan nodad",
        f"addr add 10.90.{n}.1/24 dev wan",
        f"addr add fd90:{n}::1/64 dev wan nodad",
        "link set lan up",
        "link set wan up",
        f"route add 10.80.0.0/24 via 10.90.{n}.2",
        f"route add fd80::/64 via fd90:{n}::2",
    )
    made.peer.ip(
        f"addr add 10.90.{n}.2/24 dev wan{n}",
        f"addr add fd90:{n}::2/64 dev wan{n} nodad",
        f"link set wan{n} up",
        f"route add 10.77.0.0/24 via 10.90.{n}.1 src {PEER[4]} metric {n}",
        f"route add fd77::/64 via fd90:{n}::1 src {PEER[6]} metric {n}",
    )


def _connect_second_link(made: Lab, node: Node) -> None:
    n = node.number
    netns.ip_batch(
        [
            f"link add eth1 netns {node.space.name} type veth peer name {node.direct}"
            f" address {made.second_mac(node)} netns {made.peer.name}"
        ]
    )
    node.space.ip(
        f"addr add 10.{80 + n}.1.1/24 dev eth1",
        f"addr add fd{80 + n}:1::1/64 dev eth1 nodad",
        "link set eth1 up",
    )
    made.peer.ip(
        f"addr add {node.second[4]}/24 dev {node.direct}",
        f"addr add {node.second[6]}/64 dev {node.direct} nodad",
        f"link set {node.direct} up",
    )


def _quieten() -> None:
    for name, value in _QUIET.items():
        Path("/proc/sys/" + name.replace(".", "/")).write_text(str(value))


def _announce(mac: bytes, number: int, reply: bool) -> None:
    address = socket.inet_aton(GATEWAYS[4][number])
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2 if reply else 1)
    arp += mac + address + (mac if reply else bytes(6)) + address
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind(("lan", 0))
        sock.send(b"\xff" * 6 + mac + b"\x08\x06" + arp)
    # Override, no solicitation, from a router (RFC 4861, 4.4); option 2: target link-layer address.
    body = struct.pack("!BBHI", 136, 0, 0, 0xA0000000)
    body += socket.inet_pton(socket.AF_INET6, GATEWAYS[6][number]) + b"\x02\x01" + mac
    _send_to_all_nodes(body, GATEWAYS[6][number])


def _advertise_router(lifetime: int) -> None:
    # Hop limit 64, no flags, medium preference; no options: the link-layer address is asked for.
    _send_to_all_nodes(struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, lifetime, 0, 0), None)


def _send_to_all_nodes(body: bytes, source: str | None) -> None:
    index = socket.if_nametoindex("lan")
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        if source is not None:
            sock.bind((source, 0))
        sock.sendto(body, ("ff02::1", 0, 0, index))
