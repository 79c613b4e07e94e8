"""One scenario, run: the programs in both nodes and at the peer, their events, the comparison."""

from __future__ import annotations

import errno
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.helpers.netns import Namespace
from tests.helpers.network_changes.capture import Capture, Sent, capture
from tests.helpers.network_changes.echo_server import LISTEN_PORT, TCP_PORT, UDP_PORT
from tests.helpers.network_changes.forms import FORMS
from tests.helpers.network_changes.lab import LIBRARIES, PEER, Lab, Node, lab

MARGIN = 2.0
"""Seconds that netkat may need more than the kernel's socket."""
LONGEST = 20.0
"""Seconds that a form of the kernel's has to resume; it counts as ended then."""
START = 20.0
QUIET = 0.5
"""Seconds of packets, after everything has resumed, that show the path in use."""
AT_ONCE = 1.0
"""Seconds in which every form of a connection ends together with its interface."""

MODULE = "tests.helpers.network_changes."
GATEWAY_1, GATEWAY_2, SECOND_LINK = "gateway 1", "gateway 2", "second link"
OPEN = ("udp", "idle", "as_socket", "transfer", "streams")
"""The forms that are one connection from the beginning to the end."""

Event = dict[str, Any]


class Program:
    """A child that prints events, read as they come."""

    def __init__(self, space: Namespace, module: str, *arguments: str) -> None:
        pipe = subprocess.PIPE
        self.child = space.python(MODULE + module, *arguments, stdin=pipe, stdout=pipe)
        self.events: list[Event] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def tell(self, command: str) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(command.encode() + b"\n")
        self.child.stdin.flush()

    def close(self) -> None:
        """End it at once; its namespace waits for it."""
        self.child.kill()
        self.child.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self.events.append(json.loads(line))


class Run:
    """What a scenario works with. ``faults`` collects everything that is not as it should be."""

    def __init__(self, made: Lab, version: int, seen: Capture, programs: dict[str, Any]) -> None:
        self.lab, self.version, self._capture = made, version, seen
        self._programs: dict[str, list[Program]] = programs
        self.faults: list[str] = []
        self.times: dict[tuple[str, str], float] = {}
        """Seconds until a form resumed after the last change, by library and form."""
        self.margin = MARGIN

    @property
    def nodes(self) -> list[Node]:
        return [self.lab.nodes[library] for library in LIBRARIES]

    def ip(self, *commands: str) -> None:
        """ip(8) commands in both nodes; {n} is the node's number."""
        for node in self.nodes:
            node.ip(self.version, *(command.format(n=node.number) for command in commands))

    def events(self, library: str, form: str) -> list[Event]:
        """What a form has reported so far."""
        programs = self._programs[library]
        return [event for one in programs for event in list(one.events) if event["form"] == form]

    def wait_started(self) -> None:
        """Every form has worked."""
        for library in LIBRARIES:
            for form in FORMS:
                self._wait(lambda: self._resumed(library, form, 0.0) is not None, START)  # noqa: B023
                assert self._resumed(library, form, 0.0) is not None, (
                    f"{library}: {form} does not start: {self.events(library, form)[-3:]}"
                )

    def compare(self, path: str, *, idle: bool = False, forms: Iterable[str] = FORMS) -> None:
        """Wait until everything has resumed after a change that was just made.

        Checks that netkat resumes when the kernel's sockets do, and by which path the packets
        of both go. ``idle``: the last time, when the idle connection is used.
        """
        changed = time.monotonic()
        if idle:
            for library in LIBRARIES:
                self._tell(library, "check")
        forms = [form for form in forms if form != "idle" or idle]
        waiting = list(forms)
        while waiting and time.monotonic() < changed + LONGEST:
            waiting = [form for form in waiting if not self._decided(form, changed)]
            time.sleep(0.02)
        for form in forms:
            self._compare_form(form, changed)
        time.sleep(QUIET)
        self._check_path(path)

    def check_ended(self, since: float, error: str) -> None:
        """Every open connection of netkat's has ended at once, with the typed error where the form
        has one; the kernel's go on."""
        time.sleep(AT_ONCE)
        for form in (*OPEN, "listener"):
            ended = self._ended("netkat", form)
            if ended is None or not since <= ended["time"] <= since + AT_ONCE:
                self.faults.append(f"{form}: did not end with its interface: {ended}")
            elif form not in ("as_socket", "streams") and ended["error"] != error:
                self.faults.append(f"{form}: ended with {ended}")

    def stop(self) -> None:
        """End the forms; a transfer that has not ended compares its hashes."""
        for library in LIBRARIES:
            self._tell(library, "stop")
        for library in LIBRARIES:
            programs = len(self._programs[library])
            self._wait(lambda: len(self.events(library, "agent")) == programs, LONGEST)  # noqa: B023
            hashes = [e["detail"] for e in self.events(library, "transfer") if e["kind"] == "hash"]
            resumed = (library, "transfer") in self.times and not self._ended(library, "transfer")
            if hashes != [True] and resumed:
                self.faults.append(f"{library}: transfer: hashes {hashes}")

    def check_send_fails(self, since: float) -> None:
        """Nothing is sent from an address that the host has lost: UDP's send fails.

        The kernel is as strict for IPv4 alone: IPv6 goes on sending from it.
        """
        for library in LIBRARIES if self.version == 4 else ("netkat",):
            node = self.lab.nodes[library]
            events = [e for e in self.events(library, "udp") if e["time"] > since]
            if {e["errno"] for e in events} != {errno.ENETUNREACH}:
                self.faults.append(f"{library}: udp: {events[-2:]}")
            address = node.addresses[self.version]
            sent = [p for p in list(self._capture.sent) if p.source == address and p.time > since]
            if sent:
                self.faults.append(f"{library}: sent from {address}: {sent[:2]}")

    def check_largest(self, since: float, *, at_most: int, more_than: int = 0) -> None:
        """The largest TCP packet that each node has sent since then, in bytes of IP."""
        for library in LIBRARIES:
            sizes = [p.size for p in list(self._capture.sent) if _is_tcp(p, library, since)]
            if not more_than < max(sizes, default=0) <= at_most:
                self.faults.append(f"{library}: packets of {max(sizes, default=0)} bytes")

    def _tell(self, library: str, command: str) -> None:
        for program in self._programs[library]:
            program.tell(command)

    def _decided(self, form: str, changed: float) -> bool:
        kernel = self._resumed("kernel", form, changed)
        if kernel is None:
            return self._ended("kernel", form) is not None
        if self._resumed("netkat", form, changed) is not None:
            return True
        # A listener that has ended is opened again.
        over = form != "listener" and self._ended("netkat", form) is not None
        return over or time.monotonic() > kernel + self.margin

    def _compare_form(self, form: str, changed: float) -> None:
        kernel = self._resumed("kernel", form, changed)
        ours = self._resumed("netkat", form, changed)
        for library, resumed in (("kernel", kernel), ("netkat", ours)):
            self.times.pop((library, form), None)
            if resumed is not None:
                self.times[library, form] = round(resumed - changed, 2)
        if kernel is None and ours is None:
            self.faults.append(f"{form}: neither the kernel's socket nor netkat resumed")
        elif kernel is None:
            return  # netkat is better
        elif ours is None:
            last = self.events("netkat", form)[-2:]
            self.faults.append(f"{form}: the kernel resumed, netkat did not: {last}")
        elif ours > kernel + self.margin:
            self.faults.append(f"{form}: {ours - kernel:.2f} s later than the kernel")

    def _check_path(self, path: str) -> None:
        since = time.monotonic() - QUIET + 0.1
        for node in self.nodes:
            found = {
                (packet.link, packet.mac)
                for packet in list(self._capture.sent)
                if packet.library == node.library and packet.time >= since
            }
            if (node.library, "new") not in self.times:
                continue  # its sockets have not resumed
            expected = {
                GATEWAY_1: ("lan", self.lab.gateway_macs[0]),
                GATEWAY_2: ("lan", self.lab.gateway_macs[1]),
                SECOND_LINK: ("direct", self.lab.second_mac(node)),
            }[path]
            if found != {expected}:
                self.faults.append(f"{node.library}: packets go to {found}, not to {path}")

    def _resumed(self, library: str, form: str, since: float) -> float | None:
        for event in self.events(library, form):
            if event["kind"] == "ok" and event["began"] >= since:
                return float(event["time"])
        return None

    def _ended(self, library: str, form: str) -> Event | None:
        return next((e for e in self.events(library, form) if e["kind"] == "ended"), None)

    @staticmethod
    def _wait(condition: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            time.sleep(0.02)


def _is_tcp(packet: Sent, library: str, since: float) -> bool:
    return packet.library == library and packet.time >= since and packet.protocol == 6


@contextmanager
def running(version: int, before: Callable[[Lab], None] | None = None) -> Iterator[Run]:
    """A lab with every program started in it."""
    with lab("nkc") as made, ExitStack() as undo:
        if before is not None:
            before(made)
        seen = undo.enter_context(capture(made))
        server = Program(made.peer, "echo_server")
        undo.callback(server.close)
        Run._wait(lambda: bool(server.events), START)
        programs: dict[str, list[Program]] = {}
        for library in LIBRARIES:
            local, peer = made.nodes[library].addresses[version], PEER[version]
            ports = (str(port) for port in (TCP_PORT, UDP_PORT, LISTEN_PORT))
            agent = Program(made.nodes[library].space, "agent", library, local, peer, *ports)
            undo.callback(agent.close)
            dialer = Program(made.peer, "agent", "dial", local, str(LISTEN_PORT))
            undo.callback(dialer.close)
            programs[library] = [agent, dialer]
        run = Run(made, version, seen, programs)
        run.wait_started()
        yield run
