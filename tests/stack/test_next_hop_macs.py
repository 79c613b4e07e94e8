"""A next hop gets another MAC, does not answer, or asks for the MAC of a flow's address."""

from __future__ import annotations

import time

import pytest

from netkat.stack import Code, HopState, StackError, StackPath
from tests.stack.dialled import FIRST, ROUTERS, SECOND, Dialled, far_flow
from tests.stack.frames import PEER_MAC, Alone
from tests.stack.neighbors import (
    BROADCAST,
    REPLY,
    REQUEST,
    announce,
    answer,
    arp,
    arrive,
    question,
    solicit,
)
from tests.stack.network import eventually, retry


@pytest.mark.parametrize("version", [4, 6])
def test_one_next_hop_fails_and_the_other_connects(version: int) -> None:
    silent, there = ROUTERS[version]
    with Alone() as alone:
        flow = far_flow(alone, version, 1001)
        with alone.stack.connect(flow, StackPath(silent)) as lost:
            while question(alone.sent()) != silent:
                pass
            path = StackPath(there, SECOND)
            with alone.stack.connect(far_flow(alone, version, 1002), path):
                while alone.sent()[:6] != SECOND:
                    pass
            with pytest.raises(StackError) as caught:
                retry(lost.connect_result, lost.writable_fd())
            assert caught.value.code is Code.NEXT_HOP
            seen = alone.stack.observe(flow)
            assert (seen.next_hop, seen.next_hop_mac, seen.syns_sent) == (silent, None, 0)
            # A SYN sent again right after the third question may ask a fourth.
            assert seen.hop_state in (HopState.FAILED, HopState.INCOMPLETE)


@pytest.mark.parametrize(
    ("version", "kind"), [(4, REQUEST), (4, REPLY), (6, 0)], ids=["request", "reply", "advert"]
)
def test_announcement_of_another_mac_has_it_resolved_again(version: int, kind: int) -> None:
    router = ROUTERS[version][0]
    with Alone() as alone, Dialled(alone, far_flow(alone, version), StackPath(router)) as one:
        announce(alone, router, FIRST, kind)
        assert one.send()[:6] == FIRST, "nothing new"
        announce(alone, router, SECOND, kind)
        began = time.monotonic()
        one.endpoint.send(b"data")
        assert question(alone.sent()) == router
        assert alone.silence(), "not to a MAC that is in doubt"
        answer(alone, router, SECOND)
        assert alone.sent()[:6] == SECOND
        assert time.monotonic() - began < 1


@pytest.mark.parametrize("version", [4, 6])
def test_forged_announcement_loses_nothing(version: int) -> None:
    router = ROUTERS[version][0]
    with Alone() as alone, Dialled(alone, far_flow(alone, version), StackPath(router)) as one:
        for _ in range(10):
            announce(alone, router, SECOND)
            assert one.send()[:6] == FIRST
        assert alone.stack.statistics().retransmits == 0


@pytest.mark.parametrize("version", [4, 6])
def test_mac_that_changed_without_announcement_is_found_by_a_retransmission(version: int) -> None:
    router = ROUTERS[version][0]
    with Alone() as alone, Dialled(alone, far_flow(alone, version), StackPath(router)) as one:
        one.endpoint.send(b"data")
        began = time.monotonic()
        while (frame := alone.sent()) and (asked := question(frame)) is None:
            assert frame[:6] == FIRST
        assert asked == router
        answer(alone, router, SECOND)
        while alone.sent()[:6] != SECOND:
            pass
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("version", [4, 6])
def test_forgotten_neighbor_is_asked_for_again(version: int) -> None:
    router = ROUTERS[version][0]
    with Alone() as alone, Dialled(alone, far_flow(alone, version), StackPath(router)) as one:
        alone.stack.forget_neighbor(router)
        one.endpoint.send(b"data")
        assert question(alone.sent()) == router
        answer(alone, router, SECOND)
        assert alone.sent()[:6] == SECOND


def test_neighbor_entry_that_is_static_is_never_asked_for() -> None:
    router = ROUTERS[4][0]
    with Alone() as alone:
        alone.stack.add_neighbor(router, SECOND)
        with Dialled(alone, far_flow(alone, 4), StackPath(router)) as one:
            assert one.syn[:6] == SECOND
            announce(alone, router, FIRST)
            assert one.send()[:6] == SECOND
            assert alone.stack.observe(one.flow).hop_state is HopState.STATIC
            alone.stack.add_neighbor(router, FIRST)
            assert one.send()[:6] == FIRST


@pytest.mark.parametrize("version", [4, 6])
def test_own_mac_changes_under_an_open_connection(version: int) -> None:
    router = ROUTERS[version][0]
    with Alone() as alone, Dialled(alone, far_flow(alone, version), StackPath(router)) as one:
        before, alone.host.mac = alone.host.mac, SECOND
        assert one.syn[6:12] == before
        alone.stack.set_link(1500, SECOND)
        one.endpoint.send(b"data")
        asked = alone.sent()
        assert (question(asked), asked[6:12]) == (router, SECOND), "the router learns the new one"
        answer(alone, router, FIRST)
        frame = alone.sent()
        assert (frame[:6], frame[6:12]) == (FIRST, SECOND)
        one.acknowledge(4)
        assert one.send()[6:12] == SECOND


@pytest.mark.parametrize("version", [4, 6])
def test_second_request_for_an_assigned_address_is_answered(version: int) -> None:
    """Rules of the host keep the first from the kernel; a neighbour asks again after a second."""
    with Alone() as alone:
        own, asker = alone.host.addresses[version], alone.peer[version]

        def ask() -> None:
            if version == 4:
                arrive(alone, arp(REQUEST, PEER_MAC, asker, own, BROADCAST))
            else:
                arrive(alone, solicit(PEER_MAC, asker, own))

        ask()
        ask()
        assert alone.silence(), "the kernel's to answer"
        alone.stack.add_address(own, assigned=True)
        ask()
        assert alone.silence(), "the kernel has answered"
        ask()
        frame = alone.sent()
        assert (frame[:6], frame[6:12]) == (PEER_MAC, alone.host.mac)
        assert alone.host.mac in frame[20:]
        alone.stack.add_address(own, assigned=False)
        ask()
        assert alone.silence(), "the kernel has lost the address"


@pytest.mark.parametrize("version", [4, 6])
def test_progress_of_a_connection_confirms_a_stale_next_hop(version: int) -> None:
    """RFC 4861, 7.3.1: no probe is needed. The router has asked first, so its MAC is known."""
    router = ROUTERS[version][0]
    with Alone() as alone:
        own = alone.host.addresses[version]
        alone.stack.claim_address(own)
        if version == 4:
            arrive(alone, arp(REQUEST, FIRST, router, own, BROADCAST))
        else:
            arrive(alone, solicit(FIRST, router, own))
        assert alone.sent()[:6] == FIRST, "the answer"
        with Dialled(alone, far_flow(alone, version), StackPath(router)) as one:
            assert one.syn[:6] == FIRST
            state = HopState.REACHABLE
            assert eventually(lambda: alone.stack.observe(one.flow).hop_state is state)
            assert alone.stack.observe(one.flow).neighbor_requests == 0


def test_ipv4_by_a_next_hop_of_ipv6() -> None:
    """RFC 8950, and the kernel's ``route add ... via inet6``."""
    with Alone() as alone, Dialled(alone, far_flow(alone, 4), StackPath(ROUTERS[6][0])) as one:
        assert one.syn[:6] == FIRST
        assert one.syn[12:14] == b"\x08\x00"


def test_packets_without_a_next_hop_are_counted() -> None:
    with Alone() as alone, alone.stack.connect(far_flow(alone, 4), StackPath(ROUTERS[4][0])) as one:
        with pytest.raises(StackError):
            retry(one.connect_result, one.writable_fd())
        assert alone.stack.statistics().no_next_hop > 0
