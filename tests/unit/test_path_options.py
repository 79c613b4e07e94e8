"""PathOptions: values that cannot be used together, and the text of addresses."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, cast

import pytest

from netkat.bpf.guard.modes import GuardMode
from netkat.engine.bypass import Bypass
from netkat.errors import BadArgument
from netkat.flow import Protocol
from netkat.options import DEFAULT_PATH, GUARD_MODES, PathOptions, parse_address, parse_next_hop

IPV4, IPV6 = ip_address("10.0.0.1"), ip_address("fd00::1")


def test_guard_modes_are_those_of_the_guard() -> None:
    assert ("auto", *(str(step) for step in GuardMode)) == GUARD_MODES


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (PathOptions(guard="iron"), "--guard: no such mode: 'iron'"),
        (PathOptions(source=IPV4, claim=IPV4), "-s cannot be used with --claim"),
        (PathOptions(source=IPV4, via=IPV6), "-s 10.0.0.1 cannot be used with --via fd00::1"),
        (PathOptions(claim=IPV6, via=IPV4), "--claim fd00::1 cannot be used with --via 10.0.0.1"),
    ],
)
def test_contradictions_are_refused_by_the_core(options: PathOptions, message: str) -> None:
    with pytest.raises(BadArgument) as refused:
        Bypass(options)
    assert refused.value.message.startswith(message)


@pytest.mark.parametrize("name", ["source", "claim", "via"])
def test_destination_of_the_other_ip_version(name: str) -> None:
    options = DEFAULT_PATH._replace(**cast("dict[str, Any]", {name: IPV4}))
    options.require_destination(IPV4)
    with pytest.raises(BadArgument, match=r"10\.0\.0\.1 cannot be used with fd00::1"):
        options.require_destination(IPV6)


@pytest.mark.parametrize(
    "changed",
    [{"netns": "other"}, {"claim": IPV4}, {"guard": "cbpf"}, {"qdisc_bypass": True}],
    ids=lambda changed: next(iter(changed)),
)
def test_options_of_an_attachment_cannot_differ(changed: dict[str, Any]) -> None:
    options = DEFAULT_PATH._replace(**changed)
    with Bypass() as bypass, pytest.raises(BadArgument, match=next(iter(changed))):
        bypass.prepare(IPV4, 80, protocol=Protocol.TCP, options=options)


def test_a_mac_is_a_next_hop_of_any_ip_version() -> None:
    options = PathOptions(via=parse_next_hop("02:00:00:00:00:01")).check()
    options.require_destination(IPV4)
    options.require_destination(IPV6)


def test_errors_name_the_option() -> None:
    with pytest.raises(BadArgument, match="--via: 'node2' is neither an IP address nor a MAC"):
        parse_next_hop("node2", "--via")
    with pytest.raises(BadArgument, match="claim: 'node2' is not an IP address"):
        parse_address("node2", "claim")
