"""The classic socket filter, run by the machine of tests/helpers over packets made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address

import pytest

from netkat.bpf.filters.cbpf import Instruction
from netkat.bpf.filters.classic_filter import classic_filter
from netkat.flow import Flow, IPAddress, Protocol
from tests.helpers.cbpf_machine import BROADCAST, MULTICAST, OTHERHOST, OUTGOING, check, run
from tests.helpers.filter_oracle import (
    EXTENSIONS,
    Arp,
    Arrival,
    Error,
    Neighbor,
    Spec,
    answer,
    turned,
)
from tests.helpers.packets import IPV4, IPV6, ethernet, options_header, routing_header
from tests.unit.test_cbpf import attach

TCP, UDP = Protocol.TCP, Protocol.UDP
V4 = Flow(TCP, ip_address("10.9.0.1"), 40000, ip_address("10.9.0.2"), 80)
V6 = Flow(TCP, ip_address("fd00::1"), 40000, ip_address("fd00::2"), 80)
BOTH = pytest.mark.parametrize("flow", [V4, V6, replace(V4, protocol=UDP)], ids=str)
HOP4, HOP6 = ip_address("10.9.0.254"), ip_address("fe80::ff")
ROUTER = {4: ip_address("192.0.2.1"), 6: ip_address("2001:db8::1")}
OTHER = {4: ip_address("10.9.0.3"), 6: ip_address("fd00::3")}


def of(*flows: Flow, hop: IPAddress | None = None, **link: bool) -> list[Instruction]:
    link.setdefault("ethernet", True)
    return classic_filter(dict.fromkeys(flows, hop), **link)


def passes(
    flows: Sequence[Flow] | Flow,
    spec: Spec | Arrival,
    hop: IPAddress | None = None,
    *,
    ethernet: bool = True,
    promiscuous: bool = False,
) -> bool:
    flows = [flows] if isinstance(flows, Flow) else flows
    arrival = spec if isinstance(spec, Arrival) else Arrival(spec, header=ethernet)
    program = of(*flows, hop=hop, ethernet=ethernet, promiscuous=promiscuous)
    check(program)
    kept = run(program, arrival.frame())
    assert kept in (0, 0xFFFFFFFF)
    return kept > 0


@BOTH
@pytest.mark.parametrize("ethernet", [True, False], ids=["ethernet", "bare"])
def test_the_flow_itself(flow: Flow, ethernet: bool) -> None:
    wanted = answer(flow)
    assert passes(flow, wanted, ethernet=ethernet)
    other_protocol = 23 - flow.protocol  # 6 and 17 are each other's
    for foreign in (
        replace(wanted, source=OTHER[flow.version]),
        replace(wanted, destination=OTHER[flow.version]),
        replace(wanted, source_port=81),
        replace(wanted, destination_port=40001),
        replace(wanted, protocol=other_protocol),
    ):
        assert not passes(flow, foreign, ethernet=ethernet), foreign


@BOTH
def test_every_bit_of_the_five_tuple_counts(flow: Flow) -> None:
    """Each bit of addresses, protocol and ports turned alone."""
    frame = Arrival(answer(flow)).frame()
    program = of(flow)
    length = 4 if flow.version == 4 else 16
    addresses = 14 + (12 if flow.version == 4 else 8)
    ports = 14 + (20 if flow.version == 4 else 40)
    protocol = 14 + (9 if flow.version == 4 else 6)
    places = [*range(addresses, addresses + 2 * length), *range(ports, ports + 4), protocol]
    assert run(program, frame)
    for place in places:
        for bit in range(8):
            data = bytearray(frame.data)
            data[place] ^= 1 << bit
            assert not run(program, replace(frame, data=bytes(data))), (place, bit)


@BOTH
def test_the_hairpin(flow: Flow) -> None:
    ours = turned(answer(flow))
    assert passes(flow, ours)
    assert not passes(flow, replace(ours, destination=OTHER[flow.version]))
    assert not passes(flow, replace(ours, source_port=40001))
    assert not passes(flow, replace(ours, destination_port=81))
    assert not passes(flow, replace(ours, offset=1480, fragmented=True))


@BOTH
@pytest.mark.parametrize("kind", range(20))
def test_icmp_errors(flow: Flow, kind: int) -> None:
    error = Error(ROUTER[flow.version], flow.local, kind, turned(answer(flow)))
    is_error = kind in ({3, 4, 11, 12} if flow.version == 4 else {1, 2, 3, 4})
    assert passes(flow, error) is is_error
    assert not passes(flow, replace(error, quoted=replace(error.quoted, source_port=1)))
    assert not passes(flow, replace(error, quoted=replace(error.quoted, destination_port=1)))
    assert not passes(flow, replace(error, quoted=answer(flow)))
    assert passes(flow, replace(error, receiver=OTHER[flow.version])) is is_error
    fragment = replace(error.quoted, offset=1480, fragmented=True)
    assert not passes(flow, replace(error, quoted=fragment))


@pytest.mark.parametrize("length", range(0, 44, 4))
def test_ip_options_are_skipped(length: int) -> None:
    options = bytes([1]) * min(length, 40)
    wanted = replace(answer(V4), options=options)
    assert passes(V4, wanted)
    assert not passes(V4, replace(wanted, source_port=81))
    error = Error(ROUTER[4], V4.local, 3, turned(answer(V4)), options=options)
    assert passes(V4, error)
    assert passes(V4, replace(error, quoted=replace(turned(answer(V4)), options=options[:28])))


@pytest.mark.parametrize("headers", EXTENSIONS, ids=lambda h: "-".join(str(n) for n, _ in h))
def test_extension_headers_are_skipped(headers: tuple[tuple[int, bytes], ...]) -> None:
    wanted = replace(answer(V6), headers=headers)
    assert passes(V6, wanted)
    assert passes(V6, turned(wanted))
    assert not passes(V6, replace(wanted, source_port=81))
    error = Error(ROUTER[6], V6.local, 1, replace(turned(answer(V6)), headers=headers))
    assert passes(V6, error) is (len(headers) <= 1)
    assert passes(V6, replace(error, quoted=turned(answer(V6)), headers=headers))


def test_an_error_may_quote_a_fragment() -> None:
    first = replace(turned(answer(V6)), fragmented=True)
    assert passes(V6, Error(ROUTER[6], V6.local, 2, first))


def test_a_routing_header_with_segments_left_is_not_for_this_host() -> None:
    for segments_left in (0, 1, 255):
        wanted = replace(answer(V6), headers=(routing_header(segments_left),))
        assert passes(V6, wanted) is (segments_left == 0)


def test_a_longer_chain_of_headers_is_not_ours() -> None:
    headers = tuple(options_header(60) for _ in range(7))
    assert not passes(V6, replace(answer(V6), headers=headers))


@BOTH
def test_fragments(flow: Flow) -> None:
    first = replace(answer(flow), fragmented=True)
    later = replace(first, offset=1480)
    assert passes(flow, first)
    assert passes(flow, later)
    assert passes(flow, replace(later, source_port=9, destination_port=9))
    assert not passes(flow, replace(later, source=OTHER[flow.version]))
    assert not passes(flow, replace(later, destination=OTHER[flow.version]))
    assert not passes(flow, replace(later, protocol=23 - flow.protocol))


def test_a_listener_receives_from_any_peer() -> None:
    for flow in (V4, V6):
        listener = replace(flow, remote=None, remote_port=0)
        for remote in (flow.remote, OTHER[flow.version]):
            for port in (1, 80, 65535):
                wanted = answer(replace(flow, remote=remote, remote_port=port))
                assert passes(listener, wanted)
                assert passes(listener, turned(wanted))
                assert passes(listener, Error(ROUTER[flow.version], flow.local, 3, turned(wanted)))
                assert not passes(listener, replace(wanted, destination_port=40001))
                assert passes(listener, replace(wanted, offset=8, fragmented=True))


@pytest.mark.parametrize("operation", [1, 2])
def test_arp_of_the_next_hop(operation: int) -> None:
    """To this host, gratuitous, or for another address: each says where the next hop is."""
    for target in (V4.local, HOP4, OTHER[4]):
        packet = Arp(operation, HOP4, target)
        assert passes(V4, packet, HOP4)
        assert passes([V4, V6], packet, HOP4)
        asks_for_us = operation == 1 and target == V4.local
        assert passes(V4, packet, ROUTER[4]) is asks_for_us
        assert passes(V4, packet) is asks_for_us
        assert not passes(V6, packet, HOP6)
    assert not passes(V4, replace(packet, oper=3), HOP4)


def test_arp_requests_for_a_local_address_come_from_anybody() -> None:
    for sender in (HOP4, OTHER[4], ip_address("0.0.0.0")):
        assert passes(V4, Arp(1, sender, V4.local), HOP4)
        assert not passes(V4, Arp(1, sender, ip_address("10.9.0.9")), ROUTER[4])
        assert not passes(V6, Arp(1, sender, V4.local))


def test_any_host_may_be_a_listeners_next_hop() -> None:
    """Replies and gratuitous requests, but not every host's question for another."""
    listener = replace(V4, remote=None, remote_port=0)
    for sender in (HOP4, OTHER[4]):
        assert passes(listener, Arp(2, sender, V4.local))
        assert passes(listener, Arp(2, sender, sender))
        assert passes(listener, Arp(1, sender, sender))
        assert not passes(listener, Arp(1, sender, ip_address("10.9.0.9")))
        assert not passes(listener, Arp(2, sender, V4.local), ethernet=False)


@pytest.mark.parametrize("place", range(2, 8))
def test_arp_for_other_protocols_is_not_ours(place: int) -> None:
    """Protocol, address lengths and operation must be those of IPv4 on Ethernet (RFC 826)."""
    frame = Arrival(Arp(2, HOP4, V4.local)).frame()
    data = bytearray(frame.data)
    data[14 + place] ^= 0x40
    program = of(V4, hop=HOP4)
    assert run(program, frame)
    assert not run(program, replace(frame, data=bytes(data)))


@BOTH
def test_an_error_that_quotes_the_other_ip_version(flow: Flow) -> None:
    error = Error(ROUTER[flow.version], flow.local, 3, turned(answer(flow)))
    frame = Arrival(error).frame()
    data = bytearray(frame.data)
    data[14 + (20 if flow.version == 4 else 40) + 8] ^= 0x20  # 4 becomes 6, and 6 becomes 4
    assert run(of(flow), frame)
    assert not run(of(flow), replace(frame, data=bytes(data)))


@pytest.mark.parametrize("receiver", ["fd00::1", "ff02::1", "fe80::9"])
def test_neighbor_advertisements_of_the_next_hop(receiver: str) -> None:
    packet = Neighbor(136, HOP6, ip_address(receiver), HOP6)
    assert passes(V6, packet, HOP6)
    assert passes([V4, V6], packet, HOP6)
    assert not passes(V6, packet, OTHER[6])
    assert not passes(V6, packet)
    assert not passes(V4, packet, HOP6)
    assert not passes(V6, packet, HOP6, ethernet=False)
    listener = replace(V6, remote=None, remote_port=0)
    assert passes(listener, packet)
    assert not passes(listener, packet, ethernet=False)


def test_neighbor_solicitations_for_a_local_address() -> None:
    asked = Neighbor(135, OTHER[6], ip_address("ff02::1:ff00:1"), V6.local)
    for receiver in (asked.receiver, V6.local):
        assert passes(V6, replace(asked, receiver=receiver), HOP6)
        assert not passes(V6, replace(asked, receiver=receiver, target=OTHER[6]), HOP6)
        assert not passes(V4, replace(asked, receiver=receiver))


@BOTH
def test_other_networks_other_hosts_and_what_we_send(flow: Flow) -> None:
    wanted = answer(flow)
    for vlan in (None, 0, 0xE000):
        assert passes(flow, Arrival(wanted, vlan=vlan))
    for vlan in (1, 4094, 0xE001, 4095):
        assert not passes(flow, Arrival(wanted, vlan=vlan))
    for packet_type in (BROADCAST, MULTICAST):
        assert passes(flow, Arrival(wanted, packet_type))
    for packet_type in (OTHERHOST, OUTGOING, 5):
        assert not passes(flow, Arrival(wanted, packet_type))


def test_a_promiscuous_socket_receives_frames_for_a_mac_of_its_own() -> None:
    assert passes(V4, Arrival(answer(V4), OTHERHOST), promiscuous=True)
    assert not passes(V4, Arrival(answer(V4), OTHERHOST))
    assert not passes(V4, Arrival(answer(V4), OUTGOING), promiscuous=True)


@BOTH
def test_cut_short_anywhere_before_the_ports_end(flow: Flow) -> None:
    frame = Arrival(answer(flow)).frame()
    program = of(flow)
    needed = 14 + (20 if flow.version == 4 else 40) + 4
    for length in range(len(frame.data)):
        cut = replace(frame, data=frame.data[:length])
        assert bool(run(program, cut)) is (length >= needed)


def test_nothing_without_flows_and_nothing_but_ip_and_arp() -> None:
    program = of()
    assert not run(program, Arrival(answer(V4)).frame())
    frame = Arrival(answer(V4)).frame()
    program = of(V4, V6)
    for protocol in (0x8100, 0x88CC, 4, 0x8863, IPV6):
        assert not run(program, replace(frame, protocol=protocol))


def test_the_tagged_frame_of_an_inner_vlan_is_not_ours() -> None:
    """Of two tags the kernel takes out the outer one; the protocol is the inner one then."""
    packet = answer(V4).packet()
    data = ethernet(bytes.fromhex("00050800") + packet, 0x8100)
    frame = replace(Arrival(answer(V4)).frame(), data=data, protocol=0x8100, vlan=0)
    assert not run(of(V4), frame)
    assert run(of(V4), Arrival(answer(V4), vlan=0).frame())
    assert Arrival(answer(V4), vlan=0).frame().protocol == IPV4


def test_zones_do_not_stand_on_the_wire() -> None:
    flow = Flow(TCP, ip_address("fe80::1%eth0"), 5, ip_address("fe80::2%eth0"), 80)
    plain = Flow(TCP, ip_address("fe80::1"), 5, ip_address("fe80::2"), 80)
    assert passes(flow, answer(plain))
    assert passes(flow, Neighbor(136, HOP6, plain.local, HOP6), ip_address("fe80::ff%eth0"))


def test_the_kernel_accepts_every_form_of_program() -> None:
    listener = replace(V4, remote=None, remote_port=0)
    for flows in ([V4], [V6], [V4, V6], [listener], [listener, V4, V6]):
        for hop in (None, HOP4, HOP6):
            for header in (True, False):
                for promiscuous in (True, False):
                    program = of(*flows, hop=hop, ethernet=header, promiscuous=promiscuous)
                    check(program)
                    attach(program)
