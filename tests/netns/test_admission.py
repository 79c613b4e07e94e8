"""Flows admitted on one interface, with every guard: what the packet socket receives."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address

import pytest

from netkat.bpf.filters.classic_filter import BLOCK_ALL
from netkat.bpf.guard.select_mode import GuardLink, attach
from netkat.engine.flow_filter import Admission
from netkat.errors import NetkatError
from netkat.flow import Flow, Protocol
from netkat.wire.packet_socket import PacketSocket
from tests.helpers import packets
from tests.helpers.guard_lab import quiet
from tests.helpers.netns import Host, Pair
from tests.helpers.packets import ARP, ICMPV6, IPV4, IPV6, UDP, ip, udp
from tests.helpers.wires import between, collect, flow_of, frames, nothing_more, send, wire

GUARDS = pytest.mark.parametrize("guard", ["tcx", "clsact", "cbpf", "socket"])
HOPS = {
    4: (ip_address("10.99.0.251"), ip_address("10.99.0.252")),
    6: (ip_address("fe80::251"), ip_address("fe80::252")),
}


@contextmanager
def admitting(host: Host, guard: str) -> Iterator[tuple[PacketSocket, Admission]]:
    def opened(undo: ExitStack) -> tuple[PacketSocket, Admission]:
        index = socket.if_nametoindex(host.interface)
        ours = PacketSocket(host.interface, index, ethernet=True, filter=BLOCK_ALL)
        undo.callback(ours.close)
        attached = attach(GuardLink(host.interface, index, True), guard)
        undo.callback(attached.close)
        admission = Admission(ours, attached)
        undo.callback(admission.close)
        return ours, admission

    with ExitStack() as undo:
        yield host.call(lambda: opened(undo))


def announcement(pair: Pair, version: int, hop: int) -> bytes:
    """A next hop tells every host its MAC: gratuitous ARP, or an unsolicited advertisement."""
    address = HOPS[version][hop]
    if version == 4:
        body = packets.arp(1, address, address)
        return packets.ethernet(body, ARP, destination=b"\xff" * 6)
    body = ip(address, "ff02::1", ICMPV6, packets.neighbor(136, address), ttl=255)
    return packets.ethernet(body, IPV6, destination=bytes.fromhex("333300000001"))


@GUARDS
@pytest.mark.parametrize("version", [4, 6])
def test_an_updated_next_hop_is_received_in_place_of_the_old_one(
    pair: Pair, guard: str, version: int
) -> None:
    quiet(pair)
    flow = flow_of(pair, version, Protocol.UDP, 4000, 5000)
    other = flow_of(pair, version, Protocol.UDP, 4001, 5000)
    first, second = (announcement(pair, version, hop) for hop in (0, 1))
    with admitting(pair.host, guard) as (ours, admission), wire(pair.peer) as theirs:

        def received() -> list[bytes]:
            send(theirs, [first, second])
            # A packet of the other flow comes last.
            address, peer = pair.host.address(version), pair.peer.address(version)
            packet = ip(peer, address, UDP, udp(5000, 4001, b"end"))
            end = between(pair.peer, pair.host, packet, IPV4 if version == 4 else IPV6)
            send(theirs, [end])
            seen = collect(ours, lambda found: bool(found) and found[-1][1] == end)
            return [frame for _, frame in seen[:-1]]

        admission.add(other, None)
        admission.add(flow, HOPS[version][0])
        assert received() == [first]
        admission.update(flow, HOPS[version][1])
        assert received() == [second]
        admission.update(flow, HOPS[version][1])
        assert received() == [second]
        admission.remove(flow)
        assert received() == []
        admission.update(flow, HOPS[version][0])
        assert received() == []


@GUARDS
def test_what_is_received_does_not_depend_on_the_number_of_flows(pair: Pair, guard: str) -> None:
    quiet(pair)
    with admitting(pair.host, guard) as (ours, admission), wire(pair.peer) as theirs:
        for port in range(4000, 4012):
            admission.add(flow_of(pair, 4, Protocol.UDP, port, 5000), None)
            packet = ip(pair.peer.ipv4, pair.host.ipv4, UDP, udp(5000, port, b"x"))
            foreign = ip(pair.peer.ipv4, pair.host.ipv4, UDP, udp(5000, port + 1, b"x"))
            send(theirs, [between(pair.peer, pair.host, one, IPV4) for one in (foreign, packet)])
            assert [frame[14:] for frame in frames(ours, 1)] == [packet]
        nothing_more(ours)


def test_the_ebpf_filter_fits_beside_the_old_limit_of_option_memory(pair: Pair) -> None:
    """net.core.optmem_max was 20 KiB before Linux 6.9."""
    before = pair.host.sysctl("net.core.optmem_max")
    pair.host.sysctl("net.core.optmem_max", 20480)
    try:
        with admitting(pair.host, "tcx") as (_, admission):
            admission.add(flow_of(pair, 4, Protocol.UDP, 4000, 5000), None)
    finally:
        pair.host.sysctl("net.core.optmem_max", before)


def test_a_program_that_the_socket_refuses_is_an_error(pair: Pair) -> None:
    flow = Flow(Protocol.UDP, ip_address(pair.host.ipv4), 4000)
    with admitting(pair.host, "tcx") as (ours, admission):
        with pytest.raises(NetkatError, match="eth0"):
            ours.set_program(ours.fileno())
        admission.add(flow, None)
