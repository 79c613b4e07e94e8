"""The classic socket filter against the oracle of tests/helpers."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from netkat.bpf.filters.classic_filter import classic_filter
from tests.helpers.cbpf_machine import check, run
from tests.helpers.filter_strategies import arrivals, flow_tables


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_classic_filter_agrees_with_the_oracle(data: st.DataObject) -> None:
    flows = data.draw(flow_tables())
    programs = {header: classic_filter(flows, ethernet=header) for header in (True, False)}
    for program in programs.values():
        check(program)
    for version in (4, 6):
        for arrival in data.draw(st.lists(arrivals(version), min_size=1, max_size=10)):
            passed = bool(run(programs[arrival.header], arrival.frame()))
            assert passed is arrival.wanted(flows), arrival
