"""A host between two routers to one destination: one machine with two cards on one link.

``routers(pair)`` yields the peer with eth0 and eth1 as the two routers; FAR is an address that it
has on neither, so that a connection there goes on when its packets arrive on the other card.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import NamedTuple

from netkat.flow import IPAddress
from tests.helpers.netns import (
    Host,
    Namespace,
    join,
    namespace,
    netns_pair,
    wait_usable,
    without_offloads,
)
from tests.helpers.packets import ethernet

FAR = {4: "203.0.113.9", 6: "2001:db8::9"}
MACS = {"eth0": "02:00:63:00:00:02", "eth1": "02:00:63:00:00:03"}


class Routers(NamedTuple):
    """``host`` is where netkat runs; ``machine`` has both routers' cards and FAR."""

    host: Host
    machine: Host
    switch: Namespace

    def address(self, version: int, interface: str) -> IPAddress:
        """The address of the router that is this card."""
        last = MACS[interface][-1]
        return ip_address(f"10.99.0.{last}" if version == 4 else f"fd99::{last}")


@contextmanager
def two_routers() -> Iterator[Routers]:
    """The host's routes to FAR lead by eth0's address."""
    with netns_pair("nkr") as pair, namespace("nkr", "switch") as switch:
        host, machine = pair.host, pair.peer
        host.ip("link del eth0")
        ports = {"port1": (host, "eth0"), "port2": (machine, "eth0"), "port3": (machine, "eth1")}
        switch.ip("link add br0 type bridge", "link set br0 up")
        for port, (side, interface) in ports.items():
            join(side, switch, a_name=interface, b_name=port)
            switch.ip(f"link set {port} master br0", f"link set {port} up")
        found = Routers(host, machine, switch)
        _configure_host(found)
        _configure_machine(found)
        for side, interface in ((host, "eth0"), (machine, "eth0"), (machine, "eth1")):
            without_offloads(side, interface)
            wait_usable(side, interface)
        yield found


def _configure_host(found: Routers) -> None:
    host = found.host
    host.ip(
        f"link set eth0 address {host.mac}",
        f"addr add {host.ipv4}/24 dev eth0",
        f"addr add {host.ipv6}/64 dev eth0 nodad",
        "link set eth0 up",
        *(f"route add {FAR[v]} via {found.address(v, 'eth0')}" for v in (4, 6)),
    )


def _configure_machine(found: Routers) -> None:
    machine = found.machine
    for interface, mac in MACS.items():
        machine.ip(
            f"link set {interface} address {mac}",
            f"addr add {found.address(4, interface)}/24 dev {interface} noprefixroute",
            f"addr add {found.address(6, interface)}/64 dev {interface} nodad noprefixroute",
            f"link set {interface} up",
        )
        for setting, value in (("rp_filter", 0), ("arp_ignore", 1), ("arp_announce", 2)):
            machine.sysctl(f"net.ipv4.conf.{interface}.{setting}", value)
    machine.sysctl("net.ipv4.conf.all.rp_filter", 0)
    machine.ip(
        *(f"addr add {FAR[v]}/{length} dev lo" for v, length in ((4, 32), (6, 128))),
        f"route add {found.host.ipv4} dev eth0",
        f"route add {found.host.ipv6} dev eth0",
    )


def announce(space: Namespace, interface: str, address: IPAddress, mac: bytes) -> None:
    """Send a gratuitous ARP request, or an unsolicited neighbour advertisement."""
    if address.version == 4:
        body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + address.packed
        packet = body + bytes(6) + address.packed
        frame = ethernet(packet, 0x0806, source=mac, destination=b"\xff" * 6)
    else:
        frame = _advertisement(address, mac)

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind((interface, 0))
            sock.send(frame)

    space.call(send)


def _advertisement(address: IPAddress, mac: bytes) -> bytes:
    nodes = ip_address("ff02::1").packed
    override = 0x20000000
    message = struct.pack("!BBHI", 136, 0, 0, override) + address.packed + b"\x02\x01" + mac
    pseudo = address.packed + nodes + struct.pack("!II", len(message), 58)
    total = sum(struct.unpack(f"!{len(pseudo + message) // 2}H", pseudo + message))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    message = message[:2] + struct.pack("!H", total ^ 0xFFFF) + message[4:]
    header = struct.pack("!IHBB", 6 << 28, len(message), 58, 255) + address.packed + nodes
    group = bytes.fromhex("333300000001")
    return ethernet(header + message, 0x86DD, source=mac, destination=group)
