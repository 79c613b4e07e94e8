"""Evidence on the receiver: one packet of an external client arrives, and is followed.

Nothing of it leaves the host (containment.py). What it opened is ended by an injected RST before
the table goes; where it was stopped no RST follows, which would be forwarded.
"""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from ipaddress import ip_address

from netkat.bpf.drops.drop_watch import DropWatch
from netkat.bpf.live_frames import FrameInjector
from netkat.diagnose.why import containment, host_facts, kube_proxy, legacy
from netkat.diagnose.why.evidence import Evidence, LegacyRule, Step, Target
from netkat.diagnose.why.frames import Client
from netkat.diagnose.why.kernel_drops import drops_of, watch_drops
from netkat.diagnose.why.nft.lookup import RuleSet
from netkat.diagnose.why.nft.owned_table import OwnedTable
from netkat.diagnose.why.nft.trace import TraceEvent, TraceSocket
from netkat.diagnose.why.observers import interface_name, is_fresh
from netkat.diagnose.why.request import Request
from netkat.diagnose.why.steps import StepReader
from netkat.errors import BadArgument, SetupError
from netkat.flow import IPAddress, Protocol
from netkat.host.links import link
from netkat.host.routes import is_own, route_to

_CLIENTS = {4: "203.0.113.7", 6: "2001:db8::7"}
"""For documentation (RFC 5737, RFC 3849): no machine has them."""
_SETTLE = 0.005
_QUICK = 0.002
_PORTS = range(40000, 60000)
_TRIES = 16


def collect(request: Request) -> Evidence:
    """Inject, follow, and return what was observed. Errors: SetupError, OSError."""
    return request.call(partial(_collect, request))


def _collect(request: Request) -> Evidence:
    client, evidence = begin(request)
    hooks = tuple(containment.in_the_way(link(evidence.host.interface).index))
    if hooks:
        return replace(evidence, hooks=hooks)
    evidence = _once(request, client, evidence)
    if evidence.rules_changed:
        evidence = _once(request, client, evidence)
    if _unexplained(evidence):
        evidence = _once(request, client, evidence, with_drops=True)
    return evidence


def begin(request: Request) -> tuple[IPAddress, Evidence]:
    """Return the client, and the evidence that needs no packet. Errors: BadArgument, SetupError."""
    client = request.client or ip_address(_CLIENTS[request.address.version])
    if client.version != request.address.version:
        raise BadArgument(f"client {client} is not of the same family as {request.address}")
    if is_own(client):
        raise BadArgument(f"client {client} is an address of this host: no packet of it arrives")
    interface = request.interface or route_to(client).interface
    return client, Evidence(
        Target(request.host, str(request.address), request.port, str(request.protocol)),
        str(client),
        "external client",
        incoming=True,
        host=host_facts.receiving(interface, client, request.address),
    )


def _once(
    request: Request, client: IPAddress, evidence: Evidence, *, with_drops: bool = False
) -> Evidence:
    with ExitStack() as open_now:
        arrival = Arrival(request, client, evidence.host.interface, open_now, with_drops)
        return arrival.follow(evidence)


class Arrival:
    """One injected packet and all that watches it."""

    def __init__(
        self,
        request: Request,
        client: IPAddress,
        interface: str,
        open_now: ExitStack,
        with_drops: bool,
    ) -> None:
        self._request, self._open_now = request, open_now
        facts = link(interface)
        if facts.mac is None:
            raise SetupError(
                f"{interface} has no Ethernet header: no frame can be made to arrive there",
                hint="choose another interface with -i",
            )
        self._index = facts.index
        self._client = Client(
            facts.mac,
            client,
            _fresh_port(request, client),
            request.address,
            request.port,
            request.protocol,
        )
        self._unchecked: list[str] = []
        self._heard: list[TraceEvent] = []
        self._rules = open_now.enter_context(RuleSet())
        self._drops: DropWatch | None = None
        if with_drops:
            self._drops, unchecked = watch_drops(open_now)
            self._unchecked += unchecked
        self._program = FrameInjector()
        open_now.callback(self._program.close)
        self._events = open_now.enter_context(TraceSocket())
        self._legacy = legacy.snapshot_or_note(self._request.address.version, self._unchecked)
        # Before anything arrives: from here on nothing of the flow leaves.
        chains = containment.chains(self._client, containment.pod_interfaces(self._index))
        self._table = open_now.enter_context(OwnedTable(chains))
        self._generation = self._rules.generation()

    def follow(self, evidence: Evidence) -> Evidence:
        """Inject the packet, wait for its end, and end what it opened."""
        begun = time.monotonic()
        self._program.inject(self._index, self._client.opening(self._request.payload))
        try:
            steps = self._followed(begun + self._request.timeout)
        except BaseException:
            self._reset()  # while the table is there, so it cannot leave
            raise
        seconds = time.monotonic() - begun
        changed = self._rules.generation() != self._generation
        drops = () if self._drops is None else drops_of(self._drops, self._client.source_port)
        moved = self._moved_rules()
        service = kube_proxy.service(
            self._rules,
            self._request,
            self._unchecked,
            local=evidence.host.local,
            steps=steps,
            moved=moved,
        )
        if self._opened(steps):
            self._reset()
            self._events.take(_SETTLE)
        return replace(
            evidence,
            steps=steps,
            service=service,
            legacy=moved,
            drops=drops,
            rules_changed=changed,
            unchecked=tuple(self._unchecked),
            notes=(
                f"made nftables table inet {self._table.name}; one packet from"
                f" {self._client.source}:{self._client.source_port} arrived on"
                f" {evidence.host.interface}; followed for {seconds * 1e3:.1f} ms",
            ),
        )

    def _followed(self, until: float) -> tuple[Step, ...]:
        """The steps, once the packet was stopped or its answer came to its end."""
        reader = StepReader(self._rules, self._table.name, interface_name)
        steps: tuple[Step, ...] = ()
        while True:
            if new := self._events.take(_QUICK):
                self._heard += new
                steps = reader.steps(self._heard)
            if any(step.stops for step in steps):
                # A reject's error and an answer to it come at once.
                self._heard += self._events.take(_SETTLE)
                return reader.steps(self._heard)
            if time.monotonic() >= until:
                return steps

    def _reset(self) -> None:
        if self._request.protocol is Protocol.TCP:
            self._program.inject(self._index, self._client.reset())

    def _opened(self, steps: tuple[Step, ...]) -> bool:
        """Whether the packet reached a socket or a pod: then its state here must be ended."""
        client = str(self._client.source)
        return not any(step.stops for step in steps if step.source == client)

    def _moved_rules(self) -> tuple[LegacyRule, ...]:
        if not self._legacy:
            return ()
        after = legacy.snapshot_or_note(self._request.address.version, self._unchecked)
        return legacy.moved(self._legacy, after, self._request.address, self._request.port)


def answers(step: Step, client: str) -> bool:
    """Whether the step is of a packet that goes back to the client."""
    return step.destination == client


def _fresh_port(request: Request, client: IPAddress) -> int:
    for _ in range(_TRIES):
        port = random.choice(_PORTS)
        if is_fresh(request.protocol, client, port, request.address, request.port):
            return port
    raise SetupError(f"no port of {client} is free of conntrack entries to this destination")


def _unexplained(evidence: Evidence) -> bool:
    """Whether the packet vanished without a rule's doing and without an answer."""
    if any(step.stops for step in evidence.steps) or evidence.legacy:
        return False
    return not any(answers(step, evidence.client) for step in evidence.steps)
