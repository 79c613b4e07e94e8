"""What the stack says on the wire, what it keeps to itself, and what it tells of what it saw."""

from __future__ import annotations

import os
import struct
import time
from ipaddress import ip_address

import pytest

from netkat.flow import Flow, Protocol
from netkat.stack import Code, Endpoint, Option, StackError, State
from tests.stack.frames import (
    ACK,
    ARP,
    ICMP4,
    ICMP6,
    NEEDS_CHECKSUM,
    PEER_MAC,
    RST,
    SYN,
    TCP,
    UDP,
    Alone,
    ethernet,
    from_peer,
    icmp,
    ip,
    segment,
    transport,
)
from tests.stack.network import eventually, opened, receive, retry

ROUTER_MAC = bytes.fromhex("02000000aa01")


def first_number(frame: bytes) -> int:
    """Sequence number of a TCP segment in an Ethernet frame."""
    start = 14 + (20 if frame[14] >> 4 == 4 else 40)
    return int(struct.unpack("!I", frame[start + 4 : start + 8])[0])


def answer(endpoint: Endpoint, protocol: int) -> None:
    """Wait for the peer's first answer."""
    if protocol == TCP:
        retry(endpoint.connect_result, endpoint.writable_fd())
    else:
        receive(endpoint)


def handshake(alone: Alone, flow: Flow) -> tuple[Endpoint, int]:
    """An open connection whose peer is the test, at number 1000; and our next number."""
    client = alone.stack.connect(flow)
    number = first_number(alone.sent()) + 1
    alone.put(from_peer(flow, segment(flow, SYN | ACK, 999, number)))
    opened(client)
    alone.sent()  # ACK
    return client, number


@pytest.mark.parametrize("version", [4, 6])
def test_refused_by_reset_with_its_ttl(version: int) -> None:
    with Alone() as alone:
        flow = alone.flow(version)
        client = alone.stack.connect(flow)
        number = first_number(alone.sent())
        alone.put(from_peer(flow, segment(flow, RST | ACK, 0, number + 1), ttl=57))
        with pytest.raises(StackError) as caught:
            opened(client)
        assert caught.value.code is Code.REFUSED


@pytest.mark.parametrize("version", [4, 6])
def test_facts_of_a_refusal(version: int) -> None:
    with Alone() as alone:
        flow = alone.flow(version)
        with alone.stack.connect(flow) as client:
            number = first_number(alone.sent())
            alone.put(from_peer(flow, segment(flow, RST | ACK, 0, number + 1), ttl=57))
            assert eventually(lambda: client.info().state is State.ERROR)
            seen = alone.stack.observe(flow)
            assert (seen.syns_sent, seen.frames_received) == (1, 1)
            assert (seen.resets, seen.reset_ttl) == (1, 57)
            assert alone.silence()


@pytest.mark.parametrize(
    ("version", "kind", "sub", "wanted"),
    [
        (4, 3, 3, Code.REFUSED),
        (4, 3, 1, Code.UNREACHABLE),
        (4, 3, 13, Code.UNREACHABLE),
        (4, 11, 0, Code.UNREACHABLE),
        (6, 1, 4, Code.REFUSED),
        (6, 1, 0, Code.UNREACHABLE),
        (6, 1, 1, Code.UNREACHABLE),
        (6, 3, 0, Code.UNREACHABLE),
    ],
)
def test_icmp_errors_end_a_connect_at_once(version: int, kind: int, sub: int, wanted: Code) -> None:
    with Alone() as alone:
        flow, router = alone.flow(version), alone.silent[version]
        with alone.stack.connect(flow) as client:
            syn = alone.sent()[14:]
            alone.put(icmp(router, flow.local, kind, sub, syn))
            with pytest.raises(StackError) as caught:
                retry(client.connect_result, client.writable_fd())
            assert caught.value.code is wanted
            seen = alone.stack.observe(flow)
            assert (seen.icmp_type, seen.icmp_code, seen.icmp_ttl) == (kind, sub, 61)
            assert (seen.icmp_errors, seen.icmp_sender) == (1, router)


@pytest.mark.parametrize("version", [4, 6])
def test_icmp_errors_about_another_syn_are_made_up(version: int) -> None:
    with Alone() as alone:
        flow = alone.flow(version)
        with alone.stack.connect(flow) as client:
            syn = bytearray(alone.sent()[14:])
            syn[(20 if version == 4 else 40) + 5] ^= 0xFF
            kind = 3 if version == 4 else 1
            alone.put(icmp(alone.silent[version], flow.local, kind, 1, bytes(syn)))
            with pytest.raises(BlockingIOError):
                client.connect_result()
            assert alone.stack.observe(flow).icmp_errors == 0


def test_icmp_errors_do_not_end_an_open_connection() -> None:
    """RFC 5461: on the way to an open connection they are mostly passing trouble."""
    with Alone() as alone:
        flow = alone.flow()
        client, number = handshake(alone, flow)
        with client:
            client.send(b"x")
            alone.put(icmp(alone.silent[4], flow.local, 3, 1, alone.sent()[14:]))
            assert alone.stack.observe(flow).icmp_errors == 1
            alone.put(from_peer(flow, segment(flow, ACK, 1000, number + 1, b"data")))
            assert receive(client) == b"data"


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_own_packet_that_comes_back_is_a_hairpin(version: int, protocol: int) -> None:
    with Alone() as alone:
        flow = alone.flow(version, protocol)
        with alone.stack.connect(flow) as client:
            if protocol == UDP:
                client.send(b"hello")
            packet = bytearray(alone.sent()[14:])
            packet[8 if version == 4 else 7] -= 3  # TTL; a router would mend IPv4's checksum
            alone.put(bytes(packet), vnet=NEEDS_CHECKSUM, source=ROUTER_MAC)
            seen = alone.stack.observe(flow)
            assert (seen.hairpins, seen.hairpin_ttl) == (1, 61)
            assert seen.hairpin_mac == ROUTER_MAC
            assert seen.frames_received == 0
            assert alone.silence()


def test_silent_next_hops_are_told_after_three_questions() -> None:
    """All four at once: each takes three seconds, as with the kernel."""
    cases = [(version, protocol) for version in (4, 6) for protocol in (TCP, UDP)]
    alones = [Alone() for _ in cases]
    endpoints = []
    began = time.monotonic()
    try:
        for alone, (version, protocol) in zip(alones, cases, strict=True):
            flow = alone.flow(version, protocol, alone.silent[version])
            endpoint = alone.stack.connect(flow)
            endpoints.append(endpoint)
            if protocol == UDP:
                endpoint.send(b"hello")
        for alone, endpoint, (version, protocol) in zip(alones, endpoints, cases, strict=True):
            with pytest.raises(StackError) as caught:
                answer(endpoint, protocol)
            assert caught.value.code is Code.NEXT_HOP, (version, protocol)
            seen = alone.stack.observe(alone.flow(version, protocol, alone.silent[version]))
            # A SYN sent again right after the third question may ask a fourth.
            assert seen.neighbor_requests in (3, 4) and seen.neighbor_replies == 0
            assert (seen.next_hop, seen.next_hop_mac) == (alone.silent[version], None)
            assert seen.syns_sent == 0
        assert 2.5 < time.monotonic() - began < 15
    finally:
        for endpoint in endpoints:
            endpoint.close()
        for alone in alones:
            alone.__exit__()


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_arp_is_asked_and_the_answer_used(protocol: int) -> None:
    with Alone() as alone:
        flow = alone.flow(4, protocol, alone.silent[4])
        with alone.stack.connect(flow) as client:
            if protocol == UDP:
                client.send(b"hello")
            question = alone.sent()
            assert question[:6] == b"\xff" * 6 and question[12:14] == b"\x08\x06"
            sender, wanted = question[28:32], question[38:42]
            assert (sender, wanted) == (flow.local.packed, alone.silent[4].packed)
            assert client.info().leaving == (protocol == UDP)
            alone.wire.put(bytes(10) + arp(2, ROUTER_MAC, wanted, alone.host.mac, sender))
            first = alone.sent()
            assert first[:6] == ROUTER_MAC
            seen = alone.stack.observe(flow)
            assert (seen.neighbor_requests, seen.neighbor_replies) == (1, 1)
            assert seen.syns_sent == 1
            assert not client.info().leaving


def test_neighbour_discovery_is_asked_and_the_answer_used() -> None:
    with Alone() as alone:
        flow = alone.flow(6, TCP, alone.silent[6])
        with alone.stack.connect(flow):
            question = alone.sent()[14:]
            assert question[6] == ICMP6 and question[40] == 135
            assert question[48:64] == alone.silent[6].packed
            body = struct.pack("!BBHI", 136, 0, 0, 0x60000000) + alone.silent[6].packed
            body += b"\x02\x01" + ROUTER_MAC
            body = transport(alone.silent[6], flow.local, ICMP6, body)
            alone.put(ip(alone.silent[6], flow.local, ICMP6, body, 255), source=ROUTER_MAC)
            assert alone.sent()[:6] == ROUTER_MAC


def test_stack_is_silent_to_all_that_is_not_its_own() -> None:
    """The kernel answers these: it owns the address. Two answers would be one too many."""
    with Alone() as alone:
        own4, own6 = alone.host.addresses[4], alone.host.addresses[6]
        peer4, peer6 = alone.peer[4], alone.peer[6]
        alone.wire.put(bytes(10) + arp(1, PEER_MAC, peer4.packed, bytes(6), own4.packed))
        echo4 = transport(peer4, own4, ICMP4, struct.pack("!BBHHH", 8, 0, 0, 1, 1) + b"ping")
        alone.put(ip(peer4, own4, ICMP4, echo4, 64))
        echo6 = transport(peer6, own6, ICMP6, struct.pack("!BBHHH", 128, 0, 0, 1, 1) + b"ping")
        alone.put(ip(peer6, own6, ICMP6, echo6, 64))
        asked = struct.pack("!BBHI", 135, 0, 0, 0) + own6.packed + b"\x01\x01" + PEER_MAC
        alone.put(ip(peer6, own6, ICMP6, transport(peer6, own6, ICMP6, asked), 255))
        for version in (4, 6):
            stranger = alone.flow(version)
            alone.put(from_peer(stranger, segment(stranger, SYN, 1, 0)))
            alone.put(from_peer(stranger, segment(stranger, ACK, 1, 1, b"late")))
            assert stranger.remote is not None
            datagram = transport(
                stranger.remote, stranger.local, UDP, struct.pack("!HHHH", 80, 9, 8, 0)
            )
            alone.put(from_peer(stranger, datagram, protocol=UDP))
            alone.put(from_peer(stranger, b"\0" * 20, protocol=132))
        time.sleep(0.1)
        assert alone.silence()
        assert alone.stack.statistics().frames_out == 0


def test_malformed_frames_are_counted_and_harmless() -> None:
    with Alone() as alone:
        flow = alone.flow()
        good = from_peer(flow, segment(flow, SYN, 1, 0))
        for end in range(len(good)):
            alone.wire.put(bytes(10) + ethernet(alone.host.mac, PEER_MAC, good[:end] or b"\x45"))
        for _ in range(300):
            alone.wire.put(bytes(10) + alone.host.mac + PEER_MAC + b"\x08\x00" + os.urandom(60))
            alone.wire.put(bytes(10) + alone.host.mac + PEER_MAC + b"\x86\xdd" + os.urandom(80))
        alone.wire.put(b"\0" * 5)
        assert eventually(lambda: alone.stack.statistics().malformed > 300)
        assert alone.stack.statistics().frames_out == 0


def test_a_martian_is_not_worth_a_line_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with Alone() as alone:
        martian, own = ip_address("127.0.0.1"), alone.host.addresses[4]
        flow = alone.flow(remote=martian)
        alone.put(ip(martian, own, TCP, segment(flow, SYN, 1, 0), 64))
    assert capfd.readouterr() == ("", "")


def test_frames_for_another_mac_are_not_taken() -> None:
    with Alone() as alone:
        flow = alone.flow(4, UDP)
        assert flow.remote is not None
        raw = struct.pack("!HHHH", 80, 40000, 12, 0) + b"data"
        packet = from_peer(flow, transport(flow.remote, flow.local, UDP, raw), protocol=UDP)
        with alone.stack.connect(flow) as client:
            alone.wire.put(bytes(10) + ethernet(b"\x02\0\0\0\0\x63", PEER_MAC, packet))
            assert not eventually(lambda: client.info().unread > 0, 0.1)


@pytest.mark.parametrize("version", [4, 6])
def test_path_mtu_is_honoured(version: int) -> None:
    with Alone() as alone:
        flow, router = alone.flow(version), alone.silent[version]
        client, number = handshake(alone, flow)
        headers = 40 if version == 4 else 60
        with client:
            client.send(bytes(3000))
            first = alone.sent()[14:]
            small = 1300
            kind, sub = (3, 4) if version == 4 else (2, 0)
            alone.put(icmp(router, flow.local, kind, sub, first, word=small))
            alone.put(from_peer(flow, segment(flow, ACK, 1000, number)))
            sizes = []

            def cut() -> bool:
                frame = alone.wire.take()
                if frame is not None:
                    sizes.append(len(frame) - 24)
                return small in sizes

            assert eventually(cut), sizes
            assert alone.stack.observe(flow).icmp_mtu == small
            assert alone.stack.observe(flow).icmp_errors == 0
            assert client.info().mss == small - headers


def test_path_mtu_has_a_floor() -> None:
    """552 for IPv4, as the kernel's net.ipv4.route.min_pmtu."""
    with Alone() as alone:
        flow = alone.flow()
        client, _ = handshake(alone, flow)
        with client:
            client.send(bytes(1000))
            alone.put(icmp(alone.silent[4], flow.local, 3, 4, alone.sent()[14:], word=30))
            assert alone.stack.observe(flow).icmp_mtu == 552


def test_options_are_in_force_in_the_first_segment() -> None:
    with Alone() as alone:
        alone.stack.set_option(Option.TTL, 9)
        alone.stack.set_option(Option.TOS, 0xB8)
        alone.stack.set_option(Option.MAX_SEGMENT, 700)
        with alone.stack.connect(alone.flow()) as client:
            syn = alone.sent()[14:]
            assert (syn[8], syn[1]) == (9, 0xB8)
            assert b"\x02\x04" + struct.pack("!H", 700) in syn[40:]
            assert client.get_option(Option.TTL) == 9
            with pytest.raises(StackError) as caught:
                client.set_option(Option.TTL, 256)
            assert caught.value.code is Code.INVALID
            for option in Option:
                assert client.get_option(option) >= 0


def test_own_address_is_not_looped_back() -> None:
    with Alone() as alone:
        own = alone.host.addresses[4]
        alone.stack.add_route(own, alone.peer[4])
        listener = alone.stack.listen(Flow(Protocol.TCP, own, 80))
        with listener, alone.stack.connect(Flow(Protocol.TCP, own, 40000, own, 80)):
            assert alone.sent()[:6] == PEER_MAC, "it must take to the wire"
            with pytest.raises(BlockingIOError):
                listener.accept()


def test_gateway_is_asked_for_and_not_the_destination() -> None:
    with Alone() as alone:
        far = ip_address("203.0.113.9")
        alone.stack.add_route(far, alone.peer[4])
        with alone.stack.connect(alone.flow(remote=far)):
            assert alone.sent()[:6] == PEER_MAC


def arp(kind: int, source: bytes, sender: bytes, target_mac: bytes, target: bytes) -> bytes:
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, kind) + source + sender + target_mac + target
    to = b"\xff" * 6 if kind == 1 else target_mac
    return ethernet(to, source, body, ARP)
