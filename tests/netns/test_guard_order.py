"""Who runs first: netkat's guard, and the programs of others before and after it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import pytest

from netkat.bpf.filters.flow_map import MAX_ENTRIES
from netkat.bpf.guard.select_mode import Guard, GuardLink, GuardMode, attach
from netkat.bpf.guard.tcx import FIRST, Anchor, TcxLink, attached
from netkat.errors import BadArgument, GuardFailed, InterfaceDown
from netkat.flow import Flow
from tests.helpers.guard_lab import (
    NEXT,
    PASS,
    Veth,
    Witness,
    add_filter,
    state,
    veth,
    witness,
)
from tests.helpers.guard_packets import packet
from tests.helpers.netns import Namespace, Pair, netns_pair


@dataclass
class Hook:
    """One interface, and everything that a test puts there; gone again after it."""

    host: Namespace
    wire: Veth
    undo: ExitStack

    @property
    def index(self) -> int:
        return self.wire.link.index

    def guard(self, step: str, *flows: Flow) -> Guard:
        guard = self.host.call(lambda: attach(self.wire.link, step, flows=flows))
        self.undo.callback(guard.close)
        return guard

    def program(self, verdict: int, name: str = "witness") -> Witness:
        return self.undo.enter_context(witness(verdict, name))

    def tcx(self, program: Witness, anchor: Anchor = FIRST) -> TcxLink:
        link = self.host.call(lambda: TcxLink(program.program.fd, self.index, anchor))
        self.undo.callback(link.close)
        return link

    def filter(self, program: Witness, *, pref: int = 1, handle: int = 1) -> None:
        self.host.call(lambda: add_filter(self.index, program.program.fd, pref=pref, handle=handle))
        self.undo.callback(self.tc, "qdisc", "del", "dev", "eth0", "clsact", check=False)

    def tc(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.host.run(["tc", *words], check=check)

    def refused(self, step: str) -> GuardFailed:
        before = state(self.host, self.index)
        with pytest.raises(GuardFailed) as caught:
            self.guard(step)
        assert state(self.host, self.index) == before, "a step that is refused leaves nothing"
        return caught.value


@pytest.fixture(scope="module")
def ends() -> Iterator[Pair]:
    with netns_pair("nkg") as made:
        yield made


@pytest.fixture
def hook(ends: Pair) -> Iterator[Hook]:
    with veth(ends) as wire, ExitStack() as undo:
        made = Hook(ends.host, wire, undo)
        yield made
        undo.close()
        assert state(ends.host, made.index) == (None, [])
        assert ends.host.call(lambda: attached(made.index)) == []


def test_first_although_a_tcx_program_that_ends_the_line_was_there_before(hook: Hook) -> None:
    theirs = hook.program(PASS)
    hook.tcx(theirs)
    flow = hook.wire.flow()
    guard = hook.guard("auto", flow)
    assert guard.mode is GuardMode.TCX
    assert hook.wire.answered_ports(packet(flow)) == []
    assert guard.kept(flow) == 1
    assert guard.explain_miss() is None
    assert theirs.count == 1, "the marker"


def test_a_tcx_program_that_came_in_front_is_named(hook: Hook) -> None:
    flow = hook.wire.flow()
    guard = hook.guard("tcx", flow)
    theirs = hook.program(PASS, "cil_from_netdev")
    number = theirs.program.id()
    hook.tcx(theirs)
    assert hook.wire.answered_ports(packet(flow)) == [flow.local_port]
    assert guard.kept(flow) == 0
    assert guard.explain_miss() == (
        f"tcx program {number} cil_from_netdev on eth0's tcx ingress, before netkat"
    )


def test_a_program_in_front_that_lets_go_on_does_no_harm(hook: Hook) -> None:
    flow = hook.wire.flow()
    guard = hook.guard("tcx", flow)
    theirs = hook.program(NEXT)
    hook.tcx(theirs)
    assert hook.wire.answered_ports(packet(flow)) == []
    assert guard.kept(flow) == 1
    assert theirs.count >= 2  # the guard proves itself by one more, or by several on a slow machine


@pytest.mark.parametrize("step", ["clsact", "cbpf"])
def test_no_tc_filter_behind_tcx_programs_of_others(hook: Hook, step: str) -> None:
    theirs = hook.program(PASS, "cil_from_netdev")
    hook.tcx(theirs)
    error = hook.refused(step)
    assert error.program == f"tcx program {theirs.program.id()} cil_from_netdev"
    assert error.program in str(error)


@pytest.mark.parametrize("step", ["clsact", "cbpf"])
def test_first_although_a_filter_that_ends_the_line_was_there_before(hook: Hook, step: str) -> None:
    theirs = hook.program(PASS)
    hook.filter(theirs)
    flow = hook.wire.flow()
    guard = hook.guard(step, flow)
    assert hook.wire.answered_ports(packet(flow)) == []
    assert guard.kept(flow) == (1 if step == "clsact" else None)
    assert guard.explain_miss() is None
    guard.close()
    kind, filters = state(hook.host, hook.index)
    assert kind == "clsact" and len(filters) == 1 and "theirs" in filters[0]


@pytest.mark.parametrize("step", ["clsact", "cbpf"])
def test_a_filter_that_came_in_front_is_named(hook: Hook, step: str) -> None:
    flow = hook.wire.flow()
    guard = hook.guard(step, flow)
    theirs = hook.program(PASS)
    hook.filter(theirs, handle=5)
    assert hook.wire.answered_ports(packet(flow)) == [flow.local_port]
    assert guard.kept(flow) == 0
    way = guard.explain_miss()
    assert way is not None
    assert f"tc filter pref 1 bpf handle 0x5 program {theirs.program.id()} theirs" in way


@pytest.mark.parametrize("step", ["clsact", "cbpf"])
def test_a_tcx_program_that_came_after_the_filter_is_named(hook: Hook, step: str) -> None:
    flow = hook.wire.flow()
    guard = hook.guard(step, flow)
    hook.tcx(hook.program(PASS, "late"))
    assert hook.wire.answered_ports(packet(flow)) == [flow.local_port]
    assert guard.kept(flow) == 0
    assert " late at eth0's ingress" in (guard.explain_miss() or "")


@pytest.mark.parametrize("step", ["clsact", "cbpf"])
def test_a_filter_deleted_by_somebody_is_told(hook: Hook, step: str) -> None:
    guard = hook.guard(step, hook.wire.flow())
    hook.tc("qdisc", "del", "dev", "eth0", "clsact")
    assert "deleted netkat's filter" in (guard.explain_miss() or "")
    theirs = hook.program(PASS)
    hook.filter(theirs)
    guard.close()
    assert len(state(hook.host, hook.index)[1]) == 1, "what came after is not ours to delete"


@pytest.mark.parametrize("step", ["clsact", "cbpf"])
def test_the_first_place_taken_by_another_kind(hook: Hook, step: str) -> None:
    hook.tc("qdisc", "add", "dev", "eth0", "clsact")
    hook.undo.callback(hook.tc, "qdisc", "del", "dev", "eth0", "clsact")
    where = ["dev", "eth0", "ingress", "pref", "1", "protocol", "ip"]
    hook.tc("filter", "add", *where, "bpf", "da", "bytecode", "1,6 0 0 0")
    error = hook.refused(step)
    assert "tc filter pref 1 bpf handle 0x1 on eth0 is already first" in str(error)


@pytest.mark.parametrize("kind", ["clsact", "ingress"])
@pytest.mark.parametrize("step", ["clsact", "cbpf"])
def test_a_qdisc_of_somebody_elses_stays(hook: Hook, step: str, kind: str) -> None:
    hook.tc("qdisc", "add", "dev", "eth0", kind)
    flow = hook.wire.flow()
    guard = hook.guard(step, flow)
    assert hook.wire.answered_ports(packet(flow)) == []
    guard.close()
    assert state(hook.host, hook.index) == (kind, [])
    hook.tc("qdisc", "del", "dev", "eth0", kind)


@pytest.mark.parametrize("step", ["clsact", "cbpf"])
def test_a_filter_of_somebody_elses_keeps_our_qdisc(hook: Hook, step: str) -> None:
    guard = hook.guard(step)
    where = ["dev", "eth0", "egress", "pref", "9", "protocol", "all"]
    hook.tc("filter", "add", *where, "bpf", "da", "bytecode", "1,6 0 0 4294967295")
    guard.close()
    assert state(hook.host, hook.index) == ("clsact", [])
    hook.tc("qdisc", "del", "dev", "eth0", "clsact")


@pytest.mark.parametrize("steps", [("tcx", "tcx"), ("clsact", "cbpf"), ("tcx", "clsact")])
def test_two_guards_side_by_side(hook: Hook, steps: tuple[str, str]) -> None:
    flows = [hook.wire.flow(shift=shift) for shift in (0, 1)]
    first, second = (hook.guard(step, flow) for step, flow in zip(steps, flows, strict=True))
    assert hook.wire.answered_ports(*map(packet, flows)) == []
    assert first.explain_miss() is None and second.explain_miss() is None
    first.close()
    assert hook.wire.answered_ports(*map(packet, flows)) == [flows[0].local_port]
    # Whoever made the qdisc, the last to leave takes it away: the fixture looks.
    second.close()
    assert hook.wire.answered_ports(packet(flows[1])) == [flows[1].local_port]


def test_steps_that_attach_nothing(hook: Hook) -> None:
    flow = hook.wire.flow()
    for step in ("socket", "none"):
        guard = hook.guard(step, flow)
        assert guard.mode is GuardMode(step)
        assert guard.kept(flow) is None
        assert guard.describe().startswith(f"{step}: ")
        assert state(hook.host, hook.index) == (None, [])
        assert hook.host.call(lambda: attached(hook.index)) == []


def test_words_for_what_cannot_be(hook: Hook) -> None:
    with pytest.raises(BadArgument, match="unknown guard mode 'xdp'"):
        hook.guard("xdp")
    for step in ("tcx", "clsact", "cbpf", "auto"):
        with pytest.raises(InterfaceDown, match="ghost0 was deleted"):
            hook.host.call(partial(attach, GuardLink("ghost0", 4242, True), step))


def test_full_is_told(hook: Hook) -> None:
    guard = hook.guard("tcx")
    ports = range(1, MAX_ENTRIES // 4096 + 1)
    flows = [
        replace(hook.wire.flow(), local_port=local, remote_port=remote)
        for remote in ports
        for local in range(101, 4197)
    ]
    for flow in flows:
        guard.add(flow)
    with pytest.raises(GuardFailed, match=f"holds {MAX_ENTRIES} entries already"):
        guard.add(hook.wire.flow())
    guard.remove(flows[0])
    guard.add(hook.wire.flow())
    assert hook.wire.answered_ports(packet(hook.wire.flow()), packet(flows[1])) == []


def test_thousands_of_flows_in_a_classic_program(hook: Hook) -> None:
    flows = [hook.wire.flow(shift=shift) for shift in range(3000)]
    guard = hook.guard("cbpf", *flows)
    other = hook.wire.flow(shift=3000)
    some = [packet(flows[at]) for at in (0, 249, 250, 1500, 2999)]
    assert hook.wire.answered_ports(*some, packet(other)) == [other.local_port]
    with pytest.raises(GuardFailed, match="no room for 6000 flows"):
        guard.add_all(hook.wire.flow(shift=shift) for shift in range(3000, 6000))
    assert hook.wire.answered_ports(*some, packet(other)) == [other.local_port]
