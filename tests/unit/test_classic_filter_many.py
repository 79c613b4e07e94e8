"""The classic socket filter for many flows: exact, or refused."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import ip_address

import pytest

from netkat.bpf.filters.cbpf import MAX_INSTRUCTIONS
from netkat.bpf.filters.classic_filter import classic_filter
from netkat.errors import SetupError
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


@pytest.mark.parametrize(
    ("version", "count", "peers"),
    [(4, 100, 100), (4, 700, 60000), (4, 2700, 1), (6, 100, 100), (6, 350, 60000), (6, 2700, 1)],
)
def test_many_flows_are_matched_exactly(version: int, count: int, peers: int) -> None:
    """Every flow passes, and seven foreign packets a flow do not."""
    flows = many(count, version, peers)
    program = classic_filter(dict.fromkeys(flows, HOP4), ethernet=True)
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


@pytest.mark.parametrize("version", [4, 6])
def test_more_flows_than_fit_are_refused(version: int) -> None:
    flows = dict.fromkeys(many(4000, version, 60000))
    with pytest.raises(SetupError, match="no room for 4000 flows") as refused:
        classic_filter(flows, ethernet=True)
    assert "CAP_BPF" in str(refused.value.hint)


def test_many_listeners_and_addresses() -> None:
    locals_ = [ip_address(f"10.0.1.{n}") for n in range(1, 60)]
    flows = [Flow(TCP, local, port) for local in locals_ for port in (22, 80, 443)]
    program = classic_filter(dict.fromkeys(flows), ethernet=True)
    check(program)
    for flow in flows:
        assert run(program, Arrival(answer(flow, remote="192.0.2.9", port=5)).frame())
        other = replace(flow, local_port=81)
        assert not run(program, Arrival(answer(other, remote="192.0.2.9", port=5)).frame())
