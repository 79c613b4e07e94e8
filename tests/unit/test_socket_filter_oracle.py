"""The socket filter against the oracle of tests/helpers, over a small world of addresses."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from netkat.bpf.flow_table import Precision
from netkat.bpf.socket_filter import flow_filter
from netkat.flow import Flow
from tests.helpers.cbpf_machine import check, run
from tests.helpers.small_world import ADDRESSES, arrivals, flows_of


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
