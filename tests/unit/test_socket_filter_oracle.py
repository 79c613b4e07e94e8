"""The socket filter against the oracle of tests/helpers, over a small world of addresses."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st

from netkat.bpf.flow_table import Precision
from netkat.bpf.socket_filter import flow_filter
from netkat.flow import Flow, Protocol
from tests.helpers.cbpf_machine import check, run
from tests.helpers.filter_oracle import (
    EXTENSIONS,
    Arp,
    Arrival,
    Error,
    Neighbor,
    Segment,
    Spec,
)

TCP, UDP = Protocol.TCP, Protocol.UDP
ADDRESSES = {
    4: [ip_address(f"10.0.{a}.{b}") for a in (0, 1) for b in (1, 2)],
    6: [ip_address(f"fd00::{a}:{b}") for a in (0, 1) for b in (1, 2)],
}
PORTS = st.sampled_from([1, 80, 40000])
PROTOCOLS = st.sampled_from([TCP, UDP])


@st.composite
def flows_of(draw: st.DrawFn, version: int) -> Flow:
    addresses = st.sampled_from(ADDRESSES[version])
    local, remote = draw(addresses), draw(st.none() | addresses)
    remote_port = draw(st.just(0) | PORTS)
    return Flow(draw(PROTOCOLS), local, draw(PORTS), remote, remote_port)


@st.composite
def segments(draw: st.DrawFn, version: int) -> Segment:
    addresses = st.sampled_from(ADDRESSES[version])
    fragmented = draw(st.booleans())
    return Segment(
        draw(addresses),
        draw(PORTS),
        draw(addresses),
        draw(PORTS),
        int(draw(PROTOCOLS)),
        draw(st.sampled_from([0, 8, 1480, 65528])) if fragmented else 0,
        fragmented,
        draw(st.sampled_from([b"", bytes(4), bytes(12)])) if version == 4 else b"",
        draw(st.sampled_from(EXTENSIONS[:4])) if version == 6 else (),
    )


@st.composite
def arrivals(draw: st.DrawFn, version: int) -> Arrival:
    addresses = st.sampled_from(ADDRESSES[version])
    spec: Spec
    match draw(st.sampled_from(["segment", "segment", "error", "neighbor"])):
        case "segment":
            spec = draw(segments(version))
        case "error":
            kind = draw(st.sampled_from([0, 1, 2, 3, 4, 5, 8, 11, 12, 128, 136]))
            spec = Error(draw(addresses), draw(addresses), kind, draw(segments(version)))
            if version == 6 and kind == 136:
                spec = Neighbor(136, spec.sender, spec.receiver, draw(addresses))
        case _ if version == 4:
            spec = Arp(draw(st.sampled_from([1, 2])), draw(addresses), draw(addresses))
        case _:
            receivers = st.sampled_from([*ADDRESSES[6], ip_address("ff02::1")])
            kind = draw(st.sampled_from([135, 136]))
            spec = Neighbor(kind, draw(addresses), draw(receivers), draw(addresses))
    vlan = draw(st.sampled_from([None, None, 0, 7]))
    return Arrival(spec, draw(st.sampled_from([0, 0, 1, 3, 4])), vlan, draw(st.booleans()))


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_agrees_with_the_oracle(data: st.DataObject) -> None:
    """Up to six flows of both versions from a small world, so that much matches by half."""
    flows = data.draw(st.lists(flows_of(4) | flows_of(6), min_size=1, max_size=6))
    hops = data.draw(st.none() | st.lists(st.sampled_from(ADDRESSES[4] + ADDRESSES[6]), max_size=3))
    precision = data.draw(st.sampled_from([None, Precision.DIGEST]))
    programs = {
        header: flow_filter(flows, hops, ethernet=header, precision=precision)
        for header in (True, False)
    }
    for program in programs.values():
        check(program)
    for version in (4, 6):
        for arrival in data.draw(st.lists(arrivals(version), min_size=1, max_size=10)):
            passed = bool(run(programs[arrival.header], arrival.frame()))
            assert passed is arrival.wanted(flows, hops), arrival


@settings(max_examples=200, deadline=None)
@given(st.lists(flows_of(4) | flows_of(6), min_size=1, max_size=4), st.data())
def test_coarser_steps_lose_nothing(flows: list[Flow], data: st.DataObject) -> None:
    step = data.draw(st.sampled_from(list(Precision)))
    program = flow_filter(flows, None, ethernet=True, precision=step)
    check(program)
    for version in (4, 6):
        arrival = replace(data.draw(arrivals(version)), header=True)
        if arrival.wanted(flows, None):
            assert run(program, arrival.frame()), arrival
