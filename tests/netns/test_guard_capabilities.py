"""Which step each set of capabilities reaches, and what still works once they are dropped."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netkat.bpf.guard.tcx import FIRST, TcxLink
from tests.helpers.guard_lab import PASS, Veth, add_filter, state, veth, witness
from tests.helpers.guard_packets import packet
from tests.helpers.netns import ROOT, Pair, netns_pair

CHILD = """
import ctypes, struct, sys
from netkat.bpf.guard.select_mode import GuardLink, attach
from netkat.bpf.guard.leftovers import find, remove
from netkat.bpf.guard.tcx import FIRST, TcxLink
from netkat.errors import NetkatError
from netkat.flow import Flow, IPv4Address, Protocol

def flow(shift=0):
    return Flow(Protocol.TCP, IPv4Address(sys.argv[2]), 40000 + shift, IPv4Address(sys.argv[3]), 80)

def guard(step):
    global made
    made = attach(GuardLink("eth0", int(sys.argv[1]), True), step)
    made.add(flow())
    return made

def drop():
    libc = ctypes.CDLL(None)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.capset(struct.pack("=Ii", 0x20080522, 0), bytes(24)) == 0

for line in sys.stdin:
    try:
        print(str(eval(line)), flush=True)
    except NetkatError as error:
        print(f"{type(error).__name__}: {error} [{error.hint}]", flush=True)
"""


class Child:
    """A process that evaluates one expression a line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, expression: str) -> str:
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        print(expression, file=process.stdin, flush=True)
        return process.stdout.readline().rstrip("\n")

    def children(self) -> list[int]:
        """Its children's process numbers."""
        pid = self._process.pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture(scope="module")
def ends() -> Iterator[Pair]:
    with netns_pair("nkg") as made:
        yield made


@pytest.fixture
def wire(ends: Pair) -> Iterator[Veth]:
    with veth(ends) as made:
        yield made
        assert state(ends.host, made.link.index) == (None, [])


@contextmanager
def child(ends: Pair, wire: Veth, *capabilities: str) -> Iterator[Child]:
    """A root process with these capabilities alone, or with all when none is named."""
    bound = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    drop = ["setpriv", "--inh-caps=-all", f"--bounding-set={bound}"] if capabilities else []
    addresses = (str(wire.local[4]), str(wire.remote[4]))
    process = ends.host.popen(
        [*drop, sys.executable, "-c", CHILD, str(wire.link.index), *addresses],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield Child(process)
        process.stdin.close()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.mark.parametrize(
    ("capabilities", "step"),
    [
        (("net_admin", "bpf"), "tcx"),
        (("net_admin", "sys_admin"), "tcx"),
        (("net_admin", "net_raw"), "cbpf"),
        (("bpf", "net_raw"), "socket"),
        (("net_raw",), "socket"),
    ],
)
def test_auto_takes_the_best_that_is_allowed(
    ends: Pair, wire: Veth, capabilities: tuple[str, ...], step: str
) -> None:
    with child(ends, wire, *capabilities) as netkat:
        described = netkat('guard("auto").describe()')
        assert described.startswith(f"{step}: ")
        ports = wire.answered_ports(packet(wire.flow()))
        # The shadow socket is not the guard's to make: here the kernel answers.
        assert ports == ([wire.flow().local_port] if step == "socket" else [])
        if step != "tcx":
            missing = "CAP_NET_ADMIN" if "bpf" in capabilities else "CAP_BPF"
            assert "unavailable: tcx (" in described and f"requires {missing}" in described
        if step == "socket":
            assert "cbpf (attaching a tc filter to eth0 requires CAP_NET_ADMIN)" in described
        netkat("made.close()")


def test_a_step_asked_for_by_name_says_what_it_lacks(ends: Pair, wire: Veth) -> None:
    with child(ends, wire, "net_raw") as netkat:
        assert netkat('guard("tcx")') == (
            "MissingCapability: loading the eBPF guard requires CAP_BPF and CAP_NET_ADMIN"
            " [run as root, or with CAP_BPF and CAP_NET_ADMIN]"
        )
        assert netkat('guard("clsact")').startswith("MissingCapability: loading the eBPF guard")
        assert netkat('guard("cbpf")') == (
            "MissingCapability: attaching a tc filter to eth0 requires CAP_NET_ADMIN"
            " [run as root, or with CAP_NET_ADMIN]"
        )
        assert netkat("find()") == "[]"
    for held, lacked in (("bpf", "CAP_NET_ADMIN"), ("net_admin", "CAP_BPF")):
        with child(ends, wire, held) as netkat:
            for step in ("tcx", "clsact"):
                assert netkat(f'guard("{step}")').startswith(
                    f"MissingCapability: loading the eBPF guard requires {lacked} ["
                )


@pytest.mark.parametrize("step", ["tcx", "clsact", "cbpf"])
def test_after_the_drop_all_that_is_held_goes_on(ends: Pair, wire: Veth, step: str) -> None:
    first, second = wire.flow(), wire.flow(shift=1)
    with child(ends, wire) as netkat:
        assert netkat(f'guard("{step}").mode') == step
        netkat("drop()")
        assert netkat("made.kept(flow())") == "0"
        assert wire.answered_ports(packet(first), packet(second)) == [second.local_port]
        assert netkat("made.kept(flow())") == ("None" if step == "cbpf" else "1")
        netkat("made.add(flow(1))")
        assert wire.answered_ports(packet(first), packet(second)) == []
        netkat("made.remove(flow())")
        assert wire.answered_ports(packet(first), packet(second)) == [first.local_port]
        netkat("made.close()")
        assert wire.answered_ports(packet(first), packet(second)) == [
            first.local_port,
            second.local_port,
        ]


def test_after_the_drop_a_program_in_front_is_told_without_its_name(ends: Pair, wire: Veth) -> None:
    with child(ends, wire) as netkat, witness(PASS) as theirs:
        netkat('guard("tcx")')
        netkat("drop()")
        link = ends.host.call(lambda: TcxLink(theirs.program.fd, wire.link.index, FIRST))
        assert wire.answered_ports(packet(wire.flow())) == [wire.flow().local_port]
        assert netkat("made.kept(flow())") == "0"
        assert "bpftool net show dev eth0" in netkat("made.explain_miss()")
        link.close()


def test_a_hook_query_process_from_before_the_drop_tells_which_program_it_is(
    ends: Pair, wire: Veth
) -> None:
    with child(ends, wire) as netkat, witness(PASS) as theirs:
        netkat('guard("tcx")')
        netkat("made.keep_sight()")
        netkat("made.keep_sight()")
        netkat("drop()")
        assert netkat("made.explain_miss()") == "None"
        link = ends.host.call(lambda: TcxLink(theirs.program.fd, wire.link.index, FIRST))
        number = theirs.program.id()
        assert f"tcx program {number} on eth0's tcx ingress" in netkat("made.explain_miss()")
        (pid,) = netkat.children()
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        assert status["Name"] == "netkat-hooks" and status["NoNewPrivs"] == "1"
        assert {status[key] for key in ("CapEff", "CapPrm")} == {f"{1 << 12:016x}"}
        assert len(os.listdir(f"/proc/{pid}/fd")) == 1
        os.kill(pid, signal.SIGINT)
        assert f"tcx program {number}" in netkat("made.explain_miss()")
        netkat("made.close()")
        assert netkat.children() == []
        link.close()


def test_a_hook_query_process_ends_with_a_netkat_that_is_killed(ends: Pair, wire: Veth) -> None:
    argv = [sys.executable, "-c", CHILD, str(wire.link.index), "10.0.0.1", "10.0.0.2"]
    process = ends.host.popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    with process:
        netkat = Child(process)
        netkat('guard("tcx")')
        netkat("made.keep_sight()")
        (pid,) = netkat.children()
        ended = os.pidfd_open(pid)
        process.kill()
        assert select.select([ended], [], [], 10)[0]
        os.close(ended)


@pytest.mark.parametrize("step", ["clsact", "cbpf"])
def test_after_the_drop_a_filter_in_front_is_named(ends: Pair, wire: Veth, step: str) -> None:
    with child(ends, wire) as netkat, witness(PASS) as theirs:
        netkat(f'guard("{step}")')
        netkat("drop()")
        ends.host.call(lambda: add_filter(wire.link.index, theirs.program.fd, pref=1))
        assert wire.answered_ports(packet(wire.flow())) == [wire.flow().local_port]
        assert netkat("made.kept(flow())") == "0"
        assert "theirs" in netkat("made.explain_miss()")
        netkat("made.close()")
        ends.host.run(["tc", "qdisc", "del", "dev", "eth0", "clsact"])


def test_in_a_user_namespace_the_reason_is_not_a_capability(ends: Pair, wire: Veth) -> None:
    code = (
        "from netkat.bpf.guard.select_mode import GuardLink, attach\n"
        "from netkat.errors import MissingCapability\n"
        "try: attach(GuardLink('lo', 1, True), 'tcx')\n"
        "except MissingCapability as error: print(error)"
    )
    said = ends.host.run(
        ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", code]
    ).stdout
    assert "not permitted although CAP_BPF and CAP_NET_ADMIN are held" in said
