"""Faults made for real between two namespaces, and what netkat says to each.

A row of the table is a Fault: how it is made, and what the command line and the
Python API must say. Both are asked at the same time, so that a fault which takes
seconds takes them once.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import netkat
from netkat.bpf.guard.tcx import EGRESS, FIRST, TcxLink
from netkat.errors import NetkatError
from tests.helpers.guard_lab import DROP, witness
from tests.helpers.netns import ROOT, Host, Namespace, Pair, join, new_name, prepare
from tests.helpers.rules import nft

NETKAT = [sys.executable, "-m", "netkat"]
FAR = {4: "198.51.100.1", 6: "2001:db8:51::1"}
"""An address behind the peer."""
NOBODY = {4: "10.99.0.77", 6: "fd99::77"}
"""An address of the link that nobody has."""
NOWHERE = {4: "203.0.113.1", 6: "2001:db8:203::1"}
CLOSED = 81
WAIT = 1.3


class Lab:
    """Two namespaces and what a fault put into them."""

    def __init__(self, pair: Pair, version: int, undo: ExitStack) -> None:
        self.pair, self.version, self.undo = pair, version, undo
        self.host, self.peer = pair.host, pair.peer
        self.target = pair.peer.address(version)
        self.seen: dict[str, Any] = {}

    @property
    def index(self) -> int:
        """The host's interface."""
        return self.host.call(lambda: socket.if_nametoindex("eth0"))

    def reject(self, kind: str, protocol: str = "tcp") -> None:
        """The peer's firewall answers with an ICMP error."""
        tool = "iptables" if self.version == 4 else "ip6tables"
        rule = ["-A", "INPUT", "-p", protocol, "-j", "REJECT", "--reject-with", kind]
        self.peer.run([tool, "-w", *rule])

    def route(self, space: Namespace, address: str, via: str) -> None:
        """A host route."""
        space.ip(f"route add {address} via {via}")

    def forward(self, space: Namespace) -> None:
        """The namespace is a router, and gives no advice on better ways."""
        space.sysctl("net.ipv4.ip_forward", 1)
        space.sysctl("net.ipv6.conf.all.forwarding", 1)
        for name in ("all", "eth0"):
            space.sysctl(f"net.ipv4.conf.{name}.send_redirects", 0)
        space.sysctl("net.ipv4.icmp_ratelimit", 0)
        space.sysctl("net.ipv6.icmp.ratelimit", 0)

    def behind_peer(self) -> None:
        """The target is an address behind the peer."""
        self.target = FAR[self.version]
        self.route(self.host, self.target, self.peer.address(self.version))


def drop(lab: Lab) -> None:
    """The peer answers nothing."""
    rules = "type filter hook input priority 0; meta l4proto { tcp, udp } drop;"
    nft(lab.peer, f"table inet silent {{ chain in {{ {rules} }}; }}")


def loop(lab: Lab) -> None:
    """Two routers that each think the other knows the way."""
    far = Host(new_name("nkf", "far"), 2, net=98)
    lab.undo.callback(far.close)
    prepare(far)
    join(lab.peer, far, a_name="eth1")
    near = Host("", 1, net=98).address(lab.version)
    length = 24 if lab.version == 4 else 64
    lab.peer.ip(
        f"addr add {near}/{length} dev eth1" + (" nodad" if lab.version == 6 else ""),
        "link set eth1 up",
    )
    far.ip(
        f"addr add {far.address(lab.version)}/{length} dev eth0"
        + (" nodad" if lab.version == 6 else ""),
        "link set eth0 up",
        f"route add default via {near}",
    )
    for router in (lab.peer, far):
        lab.forward(router)
    lab.behind_peer()
    lab.route(lab.peer, lab.target, far.address(lab.version))
    lab.seen["far"] = ip_address(far.address(lab.version))


def hairpin(lab: Lab) -> None:
    """The peer sends what it gets for the target straight back."""
    lab.forward(lab.peer)
    lab.behind_peer()
    lab.route(lab.peer, lab.target, lab.host.address(lab.version))


def egress_tc(lab: Lab) -> None:
    """A tc filter drops what leaves."""
    lab.host.run(["tc", "qdisc", "add", "dev", "eth0", "clsact"])
    drop_all = ["da", "bytecode", "1,6 0 0 2"]
    lab.host.run(["tc", "filter", "add", "dev", "eth0", "egress", "bpf", *drop_all])


def egress_tcx(lab: Lab) -> None:
    """A tcx program drops what leaves."""
    program = lab.undo.enter_context(witness(DROP, "eater"))
    index = lab.index
    link = lab.host.call(lambda: TcxLink(program.program.fd, index, FIRST, EGRESS))
    lab.undo.callback(link.close)
    lab.seen["program"] = program.program.id()


def egress_nft(lab: Lab) -> None:
    """An nftables chain drops what leaves."""
    chain = "type filter hook egress device eth0 priority 7; drop;"
    nft(lab.host, f"table netdev guards {{ chain out {{ {chain} }}; }}")


Words = Callable[[Lab], str]
Fields = Callable[[Lab], dict[str, Any]]


@dataclass(frozen=True)
class Fault:
    """``line`` is a regular expression for all of stderr's first line after "netkat: ", where
    HOST stands for the target; ``hint`` one for the next. ``fields`` are the exception's:
    values, or predicates on them.
    """

    name: str
    error: type[NetkatError]
    line: str
    hint: str
    fields: Fields = field(default=lambda lab: {})
    make: Callable[[Lab], None] = field(default=lambda lab: None)
    code: int = 1
    udp: bool = False
    wait: float = WAIT
    versions: tuple[int, ...] = (4, 6)
    options: tuple[str, ...] = ()
    stack: dict[str, Any] = field(default_factory=dict)
    target: Callable[[Lab], str] | None = None
    port: int = CLOSED

    def check(self, lab: Lab) -> None:
        """Make it, meet it both ways, compare."""
        self.make(lab)
        if self.target is not None:
            lab.target = self.target(lab)
        said = self._start(lab)
        # Now: the command's time runs from its own start.
        stdin, said.stdin = said.stdin, None
        assert stdin is not None
        with stdin, contextlib.suppress(BrokenPipeError):
            stdin.write(b"question" if self.udp else b"")
        error = caught(lab, self)
        stdout, stderr = said.communicate(timeout=20)
        lines = stderr.decode().splitlines()
        assert said.returncode == self.code == error.exit_code, lines
        assert stdout == b""
        prefix = "netkat: " if self.code == 2 else "netkat: .*"
        wanted = self.line.replace("HOST", re.escape(lab.target))
        for key, value in lab.seen.items():
            wanted = wanted.replace(key.upper(), re.escape(str(value)))
        assert re.fullmatch(prefix + wanted, lines[0]), (lines[0], wanted)
        if self.hint:
            assert re.fullmatch(f"  next: .*{self.hint}.*", lines[1]), lines
        assert len(lines) <= 2
        assert type(error) is self.error, error
        assert re.search(wanted, f"connect to {lab.target} failed: {error}"), str(error)
        assert error.hint and re.search(self.hint, error.hint)
        for name, value in self.fields(lab).items():
            found = getattr(error, name)
            assert value(found) if callable(value) else found == value, (name, found)

    def _start(self, lab: Lab) -> subprocess.Popen[bytes]:
        # -v lets out the general next step as well, and notes before the fault: not here.
        options = ["-u"] if self.udp else []
        words = [*options, "-w", str(self.wait), *self.options, lab.target, str(self.port)]
        pipe = subprocess.PIPE
        return lab.host.popen([*NETKAT, *words], cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe)


def caught(lab: Lab, fault: Fault) -> NetkatError:
    """The exception that a program gets."""

    def ask() -> None:
        source = fault.stack.get("source_address")
        options = {key: value for key, value in fault.stack.items() if key != "source_address"}
        with netkat.Stack(**options) as stack:
            address = (lab.target, fault.port)
            if not fault.udp:
                stack.create_connection(address, fault.wait, source).close()
                return
            with stack.open_datagram(address, fault.wait, source) as conn:
                conn.send(b"question")
                conn.recv()

    try:
        lab.host.call(ask)
    except NetkatError as error:
        return error
    raise AssertionError("no fault at all")
