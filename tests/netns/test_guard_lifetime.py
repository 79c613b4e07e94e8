"""Nothing stays behind: not after SIGKILL, not after Ctrl-C, and only ours is taken away."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import pytest

from netkat.bpf.guard import leftovers
from netkat.bpf.guard.select_mode import GuardLink, attach
from netkat.bpf.guard.tcx import attached
from tests.helpers.guard_lab import PASS, Veth, add_filter, state, veth, within, witness
from tests.helpers.guard_packets import packet
from tests.helpers.netns import Pair, netns_pair

KEPT_STEPS = ("clsact", "cbpf")

HOLDER = """
import sys, time
from netkat.bpf.guard.select_mode import GuardLink, attach
from netkat.flow import Flow, IPv4Address, Protocol
index, step, local, port, remote, remote_port = sys.argv[1:]
flow = Flow(Protocol.TCP, IPv4Address(local), int(port), IPv4Address(remote), int(remote_port))
guard = attach(GuardLink("eth0", int(index), True), step, flows=[flow])
hook = getattr(guard, "_hook", None)
print(hook.filter.pid if hook else 0, flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def ends() -> Iterator[Pair]:
    with netns_pair("nkg") as made:
        yield made


@pytest.fixture
def wire(ends: Pair) -> Iterator[Veth]:
    with veth(ends) as made:
        yield made
        assert within(15, lambda: state(ends.host, made.link.index) == (None, []))


@contextmanager
def holder(ends: Pair, wire: Veth, step: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that guards the wire's flow, and its cleanup process's number (0: none)."""
    flow = wire.flow()
    ends_of_flow = (flow.local, flow.local_port, flow.remote, flow.remote_port)
    words = [str(word) for word in (wire.link.index, step, *ends_of_flow)]
    child = ends.host.popen(
        [sys.executable, "-c", HOLDER, *words], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    try:
        yield child, int(child.stdout.readline())
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def alive(pid: int) -> bool:
    with suppress(ProcessLookupError, FileNotFoundError), open(f"/proc/{pid}/stat") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def test_killed_with_tcx_nothing_is_left(ends: Pair, wire: Veth) -> None:
    flow, index = wire.flow(), wire.link.index
    with holder(ends, wire, "tcx") as (netkat, cleanup):
        assert cleanup == 0, "this step needs no process beside netkat"
        assert wire.answered_ports(packet(flow)) == []
        netkat.kill()
        netkat.wait()
        assert ends.host.call(lambda: attached(index)) == []
        assert wire.answered_ports(packet(flow)) == [flow.local_port]


@pytest.mark.parametrize("step", KEPT_STEPS)
def test_killed_with_clsact_the_cleanup_process_cleans_up(
    ends: Pair, wire: Veth, step: str
) -> None:
    flow, index = wire.flow(), wire.link.index
    with holder(ends, wire, step) as (netkat, cleanup):
        assert wire.answered_ports(packet(flow)) == []
        netkat.kill()
        assert within(15, lambda: state(ends.host, index) == (None, []))
        assert within(15, lambda: not alive(cleanup))
        assert wire.answered_ports(packet(flow)) == [flow.local_port]


@pytest.mark.parametrize("step", KEPT_STEPS)
def test_signals_to_the_cleanup_process_do_not_take_the_guard_away(
    ends: Pair, wire: Veth, step: str
) -> None:
    flow = wire.flow()
    with holder(ends, wire, step) as (netkat, cleanup):
        assert os.getsid(cleanup) == cleanup != os.getsid(netkat.pid), "not the terminal's"
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            os.kill(cleanup, number)
        assert wire.answered_ports(packet(flow)) == []
        assert alive(cleanup)


@pytest.mark.parametrize("step", KEPT_STEPS)
def test_the_cleanup_process_holds_one_capability_and_nothing_of_netkats(
    ends: Pair, wire: Veth, step: str
) -> None:
    with holder(ends, wire, step) as (_, cleanup):
        with open(f"/proc/{cleanup}/status") as lines:
            status = {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}
        assert {status[name] for name in ("CapEff", "CapPrm")} == {f"{1 << 12:016x}"}
        assert status["CapInh"] == status["CapAmb"] == f"{0:016x}"
        assert status["NoNewPrivs"] == "1"
        assert status["Name"] == "netkat-cleanup"
        held = [os.readlink(f"/proc/{cleanup}/fd/{fd}") for fd in os.listdir(f"/proc/{cleanup}/fd")]
        assert sorted(name.split(":")[0] for name in held) == ["/dev/null"] * 3 + ["socket"] * 2
        assert os.readlink(f"/proc/{cleanup}/cwd") == "/"


@pytest.mark.parametrize("step", KEPT_STEPS)
def test_the_cleanup_process_dies_first(ends: Pair, wire: Veth, step: str) -> None:
    """Its netkat still guards, nobody else takes the filter for a leftover, and close() cleans."""
    flow = wire.flow()
    guard = ends.host.call(lambda: attach(wire.link, step, flows=[flow]))
    os.kill(guard._hook.filter.pid, signal.SIGKILL)  # type: ignore[attr-defined]
    assert wire.answered_ports(packet(flow)) == []
    assert ends.host.call(leftovers.find) == []
    guard.close()
    assert state(ends.host, wire.link.index) == (None, [])


@contextmanager
def left_behind(ends: Pair, wire: Veth, step: str) -> Iterator[None]:
    """Both are killed at once, as when a container ends."""
    with holder(ends, wire, step) as (netkat, cleanup):
        os.kill(cleanup, signal.SIGKILL)
        assert within(15, lambda: not alive(cleanup))
        netkat.kill()
        netkat.wait()
        assert len(state(ends.host, wire.link.index)[1]) == 1
        yield


@pytest.mark.parametrize("step", KEPT_STEPS)
def test_clean_takes_what_is_left_and_only_that(ends: Pair, wire: Veth, step: str) -> None:
    dead, living = wire.flow(), wire.flow(shift=1)
    index = wire.link.index
    with witness(PASS) as theirs:
        ends.host.call(lambda: add_filter(index, theirs.program.fd, pref=1))
        guard = ends.host.call(lambda: attach(wire.link, step, flows=[living]))
        with holder(ends, wire, step) as (netkat, cleanup):
            assert ends.host.call(leftovers.find) == [], "its owner lives"
            os.kill(cleanup, signal.SIGKILL)
            assert within(15, lambda: not alive(cleanup))
            netkat.kill()
            netkat.wait()
        assert wire.answered_ports(packet(dead), packet(living)) == []
        (found,) = ends.host.call(leftovers.find)
        assert found.interface == index
        assert "tc filter pref 1 bpf handle 0x6e6b" in ends.host.call(lambda: str(found))
        assert ends.host.call(leftovers.remove) == [found]
        assert ends.host.call(leftovers.remove) == []
        assert wire.answered_ports(packet(dead), packet(living)) == [dead.local_port]
        guard.close()
        kind, filters = state(ends.host, index)
        assert kind == "clsact" and len(filters) == 1 and "theirs" in filters[0]
        ends.host.run(["tc", "qdisc", "del", "dev", "eth0", "clsact"])


@pytest.mark.parametrize("step", KEPT_STEPS)
def test_clean_takes_the_qdisc_that_was_made_for_it(ends: Pair, wire: Veth, step: str) -> None:
    with left_behind(ends, wire, step):
        assert len(ends.host.call(leftovers.remove)) == 1
        assert state(ends.host, wire.link.index) == (None, [])


@pytest.mark.parametrize("step", ["tcx", *KEPT_STEPS])
def test_the_next_run_takes_what_is_left(ends: Pair, wire: Veth, step: str) -> None:
    flow = wire.flow()
    with left_behind(ends, wire, "clsact"):
        guard = ends.host.call(lambda: attach(wire.link, step))
        assert wire.answered_ports(packet(flow)) == [flow.local_port]
        guard.close()
        assert state(ends.host, wire.link.index) == (None, [])


def test_close_more_than_once(ends: Pair, wire: Veth) -> None:
    for step in ("tcx", *KEPT_STEPS):
        guard = ends.host.call(partial(attach, wire.link, step, flows=[wire.flow()]))
        guard.close()
        guard.close()


@pytest.mark.parametrize("step", ["tcx", *KEPT_STEPS])
def test_close_after_the_interface_has_gone(ends: Pair, step: str) -> None:
    ends.host.ip("link add gone0 type veth peer name gone1", "link set gone0 up")
    ends.host.ip("link set gone1 up")
    index = ends.host.call(lambda: socket.if_nametoindex("gone0"))
    guard = ends.host.call(lambda: attach(GuardLink("gone0", index, True), step))
    ends.host.ip("link del gone0")
    began = time.monotonic()
    guard.close()
    assert time.monotonic() - began < 5
