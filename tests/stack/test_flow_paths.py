"""The next hop belongs to a flow: where its frames are sent to, also when that changes."""

from __future__ import annotations

import struct
from contextlib import ExitStack
from ipaddress import ip_address, ip_network

import pytest

from netkat.flow import Flow, Protocol
from netkat.stack import Code, HopState, StackError, StackPath
from tests.stack.dialled import FAR, FIRST, ROUTERS, SECOND, Dialled, far_flow
from tests.stack.frames import ACK, PEER_MAC, SYN, TCP, UDP, Alone, from_peer, segment
from tests.stack.neighbors import (
    answer,
    question,
)
from tests.stack.network import eventually, retry

buffer = bytearray(100)


@pytest.mark.parametrize("version", [4, 6])
def test_next_hop_of_an_open_connection_changes(version: int) -> None:
    first, second = ROUTERS[version]
    with Alone() as alone, Dialled(alone, far_flow(alone, version), StackPath(first)) as one:
        assert one.syn[:6] == FIRST
        one.endpoint.set_path(StackPath(second, SECOND))
        assert one.send()[:6] == SECOND
        seen = alone.stack.observe(one.flow)
        assert (seen.next_hop, seen.next_hop_mac) == (second, SECOND)
        assert seen.hop_state is HopState.STATIC
        one.endpoint.set_path(StackPath(first))
        assert one.send()[:6] == FIRST, "its MAC is still known"
        assert alone.stack.observe(one.flow).neighbor_requests == 0, "not asked again"


@pytest.mark.parametrize("version", [4, 6])
def test_two_connections_to_one_destination_have_their_own_next_hops(version: int) -> None:
    first, second = ROUTERS[version]
    with (
        Alone() as alone,
        Dialled(alone, far_flow(alone, version, 1001), StackPath(first)) as one,
        Dialled(alone, far_flow(alone, version, 1002), StackPath(second, SECOND)) as other,
    ):
        for _ in range(3):
            assert one.send()[:6] == FIRST
            assert other.send()[:6] == SECOND
        seen = alone.stack.observe(one.flow)
        assert (seen.neighbor_requests, seen.neighbor_replies) == (1, 1)
        assert alone.stack.observe(other.flow).neighbor_requests == 0


@pytest.mark.parametrize("version", [4, 6])
def test_mss_follows_the_mtu_of_the_path(version: int) -> None:
    headers = 40 if version == 4 else 60
    path = StackPath(ROUTERS[version][0], FIRST, 1400)
    with Alone() as alone, Dialled(alone, far_flow(alone, version), path) as one:
        assert one.mss() == 1400 - headers
        with Dialled(alone, far_flow(alone, version, 1), path._replace(mtu=0)) as whole:
            assert whole.mss() == 1500 - headers
        assert one.send_in_pieces(bytes(4000)) == 1400


@pytest.mark.parametrize("version", [4, 6])
def test_lowered_mtu_of_the_path_makes_segments_smaller_at_once(version: int) -> None:
    path = StackPath(ROUTERS[version][0], FIRST)
    with Alone() as alone, Dialled(alone, far_flow(alone, version), path) as one:
        assert len(one.send(bytes(1400))) > 1300
        one.endpoint.set_path(path._replace(mtu=1300))
        assert one.send_in_pieces(bytes(3000)) == 1300
        assert alone.stack.statistics().timeouts == 0, "not after a timeout"


def test_raised_mtu_lets_new_connections_use_it() -> None:
    path = StackPath(ROUTERS[4][0], FIRST)
    with Alone() as alone:
        alone.stack.set_link(1300, alone.host.mac)
        alone.stack.set_link(1500, alone.host.mac)
        with Dialled(alone, far_flow(alone, 4), path) as one:
            assert one.mss() == 1460
            assert one.send_in_pieces(bytes(3000)) == 1500


def test_link_keeps_its_ethernet_header() -> None:
    with Alone() as alone, pytest.raises(StackError) as caught:
        alone.stack.set_link(1500, None)
    assert caught.value.code is Code.INVALID


@pytest.mark.parametrize("version", [4, 6])
def test_datagrams_wait_for_the_next_hop_and_follow_a_change(version: int) -> None:
    first, second = ROUTERS[version]
    with Alone() as alone:
        flow = alone.flow(version, UDP, FAR[version])
        with alone.stack.connect(flow, StackPath(first)) as client:
            client.send(b"one")
            assert question(alone.sent()) == first
            assert client.info().leaving
            client.set_path(StackPath(second, SECOND))
            client.send(b"two")
            assert alone.sent()[:6] == SECOND
            answer(alone, first, FIRST)
            assert alone.sent()[:6] == FIRST, "it was sent before the change"
            assert eventually(lambda: not client.info().leaving)


@pytest.mark.parametrize("version", [4, 6])
def test_fragments_of_a_datagram_take_one_path(version: int) -> None:
    router = ROUTERS[version][0]
    with Alone() as alone:
        flow = alone.flow(version, UDP, FAR[version])
        with alone.stack.connect(flow, StackPath(router, SECOND)) as client:
            client.send(bytes(4000))
            assert [alone.sent()[:6] for _ in range(3)] == [SECOND] * 3


def test_last_segments_of_a_closed_connection_take_its_path() -> None:
    with Alone() as alone:
        one = Dialled(alone, far_flow(alone, 4), StackPath(ROUTERS[4][0], SECOND))
        one.endpoint.close()
        fin = [alone.sent(), alone.sent()]
        assert [frame[:6] for frame in fin] == [SECOND] * 2, "the FIN, and again"


def test_path_needs_a_peer_and_an_open_link() -> None:
    links = ExitStack()
    with links, Alone() as alone:
        other = links.enter_context(Alone())
        local = Flow(Protocol.UDP, alone.host.addresses[4], 53)
        with alone.stack.bind(local) as server:
            with pytest.raises(StackError) as caught:
                server.set_path(StackPath())
            assert caught.value.code is Code.NOT_CONNECTED
        links.close()
        with pytest.raises(StackError) as caught:
            alone.stack.connect(alone.flow(), StackPath(link=other.stack))
        assert caught.value.code is Code.BAD_HANDLE


@pytest.mark.parametrize("version", [4, 6])
def test_accepted_connection_follows_the_routes(version: int) -> None:
    first, second = ROUTERS[version]
    everywhere = ip_network("0.0.0.0/0" if version == 4 else "::/0")
    with Alone() as alone:
        alone.stack.add_neighbor(first, FIRST)
        alone.stack.add_neighbor(second, SECOND)
        alone.stack.set_routes([(everywhere, first)])
        flow = far_flow(alone, version)
        with alone.stack.listen(Flow(Protocol.TCP, flow.local, flow.local_port)) as listener:
            alone.put(from_peer(flow, segment(flow, SYN, 999, 0)))
            frame = alone.sent()
            assert frame[:6] == FIRST, "SYN-ACK"
            start = 14 + (20 if version == 4 else 40)
            number = struct.unpack("!I", frame[start + 4 : start + 8])[0] + 1
            alone.put(from_peer(flow, segment(flow, ACK, 1000, number)))
            server, _, _ = retry(listener.accept, listener.readable_fd())
            with server:
                alone.stack.set_routes([(everywhere, second)])
                server.send(b"data")
                assert alone.sent()[:6] == SECOND
                server.set_path(StackPath(first))
                alone.put(from_peer(flow, segment(flow, ACK, 1000, number + 4)))
                server.send(b"more")
                assert alone.sent()[:6] == FIRST, "its own path counts more than the routes"
                server.abort()


def test_longest_prefix_decides() -> None:
    first, second = ROUTERS[4]
    with Alone() as alone:
        alone.stack.add_neighbor(first, FIRST)
        alone.stack.add_neighbor(second, SECOND)
        alone.stack.set_routes(
            [
                (ip_network("203.0.113.0/24"), second),
                (ip_network("0.0.0.0/0"), first),
                (ip_network("203.0.113.9/32"), first),
            ]
        )
        for address, mac in (("203.0.113.9", FIRST), ("203.0.113.8", SECOND), ("8.8.8.8", FIRST)):
            with alone.stack.connect(alone.flow(4, UDP, ip_address(address))) as client:
                client.send(b"data")
                assert alone.sent()[:6] == mac
        alone.stack.set_routes([])
        with pytest.raises(StackError) as caught:
            alone.stack.connect(alone.flow(4, TCP, FAR[4]))
        assert caught.value.code is Code.UNREACHABLE


@pytest.mark.parametrize("version", [4, 6])
def test_flow_uses_the_link_of_another_stack(version: int) -> None:
    first, second = ROUTERS[version]
    links = ExitStack()
    with links, Alone() as alone:
        other = links.enter_context(Alone())
        other.stack.set_link(1500, SECOND)
        other.host.mac = SECOND
        with Dialled(alone, far_flow(alone, version), StackPath(first, FIRST)) as one:
            one.endpoint.set_path(StackPath(second, link=other.stack))
            one.endpoint.send(b"over there")
            asked = other.sent()
            assert question(asked) == second
            answer(other, second, PEER_MAC)
            frame = other.sent()
            assert (frame[:6], frame[6:12]) == (PEER_MAC, SECOND)
            assert frame.endswith(b"over there")
            seen = alone.stack.observe(one.flow)
            assert (seen.next_hop, seen.next_hop_mac) == (second, PEER_MAC)
            one.number += len(b"over there")
            raw = segment(one.flow, ACK, one.peer_number, one.number, b"answer")
            other.put(from_peer(one.flow, raw))
            assert retry(lambda: one.endpoint.recv_into(buffer), one.endpoint.readable_fd()) == 6
            assert alone.silence()
            links.close()
            one.endpoint.send(b"back here")
            while not (frame := alone.sent()).endswith(b"back here"):
                pass
            assert frame[:6] == FIRST
