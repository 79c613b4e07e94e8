"""The guard as a classic program: its size, and its flows in it."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from netkat.bpf.filters.cbpf import ProgramTooLong
from netkat.bpf.guard.classic_guard import guard_program
from netkat.bpf.tc import SHOT, UNSPEC
from netkat.flow import Flow, Protocol

LOCAL, REMOTE = ip_address("192.0.2.1"), ip_address("198.51.100.7")
RETURN = 0x06


def flows(count: int) -> list[Flow]:
    return [Flow(Protocol.TCP, LOCAL, 1024 + i, REMOTE, 80) for i in range(count)]


def test_it_returns_nothing_but_drop_and_go_on() -> None:
    program = guard_program(flows(3), ethernet=True)
    assert {each.k for each in program if each.code == RETURN} == {SHOT, UNSPEC}
    assert program[-1].code == RETURN


def test_without_flows_it_only_goes_on() -> None:
    program = guard_program([], ethernet=False)
    assert len(program) < 12
    assert {each.k for each in program if each.code == RETURN} == {UNSPEC}


def test_a_connection_more_to_the_same_peer_costs_one_instruction() -> None:
    sizes = [len(guard_program(flows(count), ethernet=True)) for count in (1, 2, 200)]
    assert sizes[1] - sizes[0] == 1
    assert sizes[2] - sizes[0] == 199


def test_thousands_of_connections_fit_and_too_many_are_told() -> None:
    assert len(guard_program(flows(3900), ethernet=True)) < 4096
    with pytest.raises(ProgramTooLong, match="4096"):
        guard_program(flows(5000), ethernet=True)


def test_the_order_in_which_flows_came_does_not_matter() -> None:
    some = [*flows(5), Flow(Protocol.UDP, LOCAL, 53), Flow(Protocol.TCP, LOCAL, 80)]
    assert guard_program(some, ethernet=True) == guard_program(reversed(some), ethernet=True)
