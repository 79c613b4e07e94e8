"""Paths that are remembered: asked once, and anew after whatever could change them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from netkat.engine import path_cache
from netkat.engine.path import Path
from netkat.flow import Protocol
from netkat.host.port_rules import ports_decide
from netkat.options import PathOptions
from tests.helpers.netns import Pair

ANSWERED = 60.0
"""Seconds: no answer of these tests grows old."""


@contextmanager
def planner() -> Iterator[path_cache.Paths]:
    made = path_cache.Paths()
    try:
        yield made
    finally:
        made.close()


def plan(pair: Pair, made: path_cache.Paths, *, port: int = 0) -> Path:
    """The host's way to the peer."""
    return pair.host.call(
        lambda: made.plan(
            ip_address(pair.peer.ipv4),
            protocol=Protocol.TCP,
            remote_port=80,
            options=PathOptions(source_port=port),
        )
    )


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_cache, "LONGEST", ANSWERED)


def test_asked_once(pair: Pair) -> None:
    with planner() as made:
        first = plan(pair, made)
        assert plan(pair, made) is first


@pytest.mark.parametrize(
    "commands",
    [
        ["link set eth0 mtu 1400"],
        ["route add 10.99.0.2 dev eth0 mtu 1300"],
        ["neigh replace 10.99.0.2 lladdr 02:00:00:00:00:77 nud permanent dev eth0"],
        ["route add 10.99.0.2 via 10.99.0.9 dev eth0 table 77", "rule add to 10.99.0.2 table 77"],
        ["address add 10.99.0.3/32 dev eth0", "route add 10.99.0.2 dev eth0 src 10.99.0.3"],
    ],
    ids=["mtu", "route", "neighbour", "rule", "address"],
)
def test_a_change_is_seen_by_the_next_question(pair: Pair, commands: list[str]) -> None:
    with planner() as made:
        first = plan(pair, made)
        plan(pair, made)
        for command in commands:
            pair.host.ip(command)
        assert plan(pair, made) != first


def test_an_answer_grows_old(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_cache, "LONGEST", 0.0)
    with planner() as made:
        first = plan(pair, made)
        second = plan(pair, made)
        assert second == first and second is not first


def test_ports_matter_only_where_something_looks_at_them(pair: Pair) -> None:
    assert not pair.host.call(ports_decide)
    with planner() as made:
        # Without such a rule, all ports share one path from the first question on.
        assert plan(pair, made, port=4000) is plan(pair, made, port=4001)
        assert not made.ports_decide()
    pair.host.ip("rule add to 10.99.0.2 sport 4000-4001 table 77")
    assert pair.host.call(ports_decide)
    with planner() as made:
        pair.host.ip("route add 10.99.0.2 via 10.99.0.9 dev eth0 table 77")
        hops = {port: plan(pair, made, port=port).next_hop for port in (3999, 4000, 4001, 4002)}
        straight, around = ip_address("10.99.0.2"), ip_address("10.99.0.9")
        assert hops == {3999: straight, 4000: around, 4001: around, 4002: straight}
        pair.host.ip("rule del to 10.99.0.2 sport 4000-4001 table 77")
        assert plan(pair, made, port=4000).next_hop == straight
        assert not made.ports_decide()


def test_hashing_of_ports_is_a_reason_too(pair: Pair) -> None:
    pair.host.sysctl("net.ipv4.fib_multipath_hash_policy", 1)
    assert pair.host.call(ports_decide)
