"""The socket filter for more flows than fit as they are."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkat.bpf.cbpf import MAX_INSTRUCTIONS
from netkat.bpf.flow_table import Precision, joined
from netkat.bpf.socket_filter import flow_filter
from netkat.flow import Flow, Protocol
from tests.helpers.cbpf_machine import check, run
from tests.helpers.filter_oracle import (
    Arrival,
    Error,
    answer,
    turned,
)
from tests.unit.test_cbpf import attach

TCP, UDP = Protocol.TCP, Protocol.UDP
HOP4 = ip_address("10.9.0.254")
ROUTER = {4: ip_address("192.0.2.1"), 6: ip_address("2001:db8::1")}
OTHER = {4: ip_address("10.9.0.3"), 6: ip_address("fd00::3")}


def many(count: int, version: int, peers: int) -> list[Flow]:
    randomly = random.Random(count * version)
    local = ip_address("10.0.0.1" if version == 4 else "fd00::1")
    first = int(ip_address("10.1.0.0" if version == 4 else "fd01::"))
    return [
        Flow(
            randomly.choice((TCP, UDP)),
            local,
            port,
            ip_address(first + randomly.randrange(peers)),
            randomly.randrange(1, 65536),
        )
        for port in randomly.sample(range(32768, 61000), count)
    ]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("count", "peers", "expected"),
    [(100, 100, "EXACT"), (1000, 60000, "DIGEST"), (2000, 60000, "DIGEST_ANY_FRAGMENT")],
)
def test_many_flows(version: int, count: int, peers: int, expected: str) -> None:
    """No flow is lost, and nothing but the flows gets in: seven foreign packets a flow."""
    flows = many(count, version, peers)
    program = flow_filter(flows, None, ethernet=True)
    wanted = flow_filter(flows, None, ethernet=True, precision=Precision[expected])
    assert program == wanted
    assert len(program) <= MAX_INSTRUCTIONS
    check(program)
    attach(program)
    known = set(flows)
    for flow, other in zip(flows, [*flows[1:], flows[0]], strict=True):
        segment = answer(flow)
        assert run(program, Arrival(segment).frame())
        assert run(program, Arrival(turned(segment)).frame())
        error = Error(ROUTER[version], flow.local, 3, turned(segment))
        assert run(program, Arrival(error).frame())
        assert run(program, Arrival(replace(segment, offset=8, fragmented=True)).frame())
        for foreign in (
            replace(flow, remote=other.remote),
            replace(flow, remote_port=other.remote_port),
            replace(flow, local_port=other.local_port),
            replace(flow, protocol=TCP if flow.protocol is UDP else UDP),
        ):
            if foreign not in known:
                assert not run(program, Arrival(answer(foreign)).frame()), foreign


def test_a_thousand_flows_to_one_peer_are_exact() -> None:
    flows = many(1000, 4, 1)
    exact = flow_filter(flows, [HOP4], ethernet=True, precision=Precision.EXACT)
    assert flow_filter(flows, [HOP4], ethernet=True) == exact


@pytest.mark.parametrize("version", [4, 6])
def test_more_flows_than_fit_are_let_in_by_ranges_of_ports(version: int) -> None:
    flows = many(6000, version, 60000)
    program = flow_filter(flows, None, ethernet=True)
    check(program)
    for flow in flows[::7]:
        assert run(program, Arrival(answer(flow)).frame())
    for port in (1, 80, 32767, 61000, 65535):
        assert not run(program, Arrival(answer(replace(flows[0], local_port=port))).frame())
    assert not run(program, Arrival(replace(answer(flows[0]), destination=OTHER[version])).frame())


def test_many_listeners_and_addresses() -> None:
    locals_ = [ip_address(f"10.0.1.{n}") for n in range(1, 60)]
    flows = [Flow(TCP, local, port) for local in locals_ for port in (22, 80, 443)]
    program = flow_filter(flows, None, ethernet=True)
    check(program)
    for flow in flows:
        assert run(program, Arrival(answer(flow, remote="192.0.2.9", port=5)).frame())
        other = replace(flow, local_port=81)
        assert not run(program, Arrival(answer(other, remote="192.0.2.9", port=5)).frame())


@given(st.sets(st.integers(0, 65535), min_size=1, max_size=50), st.integers(1, 20))
def test_joined_ranges_hold_all_ports(ports: set[int], limit: int) -> None:
    ranges = joined(ports, limit)
    assert len(ranges) <= limit
    assert all(any(low <= port <= high for low, high in ranges) for port in ports)
    assert all(low in ports and high in ports for low, high in ranges)
    assert all(high + 1 < low for (_, high), (low, _) in itertools.pairwise(ranges))
    if limit >= len(ports):
        assert sum(high - low + 1 for low, high in ranges) == len(ports)
