"""--wait: the next real packet of a client is followed. Nothing is injected and nothing stopped."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

from netkat.diagnose.why import containment, kube_proxy, legacy
from netkat.diagnose.why.evidence import Evidence, LegacyRule, Step
from netkat.diagnose.why.nft.lookup import RuleSet
from netkat.diagnose.why.nft.owned_table import OwnedTable
from netkat.diagnose.why.nft.trace import TraceEvent, TraceSocket
from netkat.diagnose.why.observers import interface_name
from netkat.diagnose.why.receiver import begin
from netkat.diagnose.why.request import Request
from netkat.diagnose.why.steps import StepReader

_ANSWER = 0.3
"""Seconds that the answer may take once the packet has come."""
_QUICK = 0.01


def collect(request: Request) -> Evidence:
    """Wait, follow, and return what was observed. Errors: SetupError, OSError."""
    return request.call(partial(_collect, request))


def _collect(request: Request) -> Evidence:
    client, evidence = begin(request)
    chains = containment.watching(client, request.address, request.port, request.protocol)
    unchecked: list[str] = []
    counted = legacy.snapshot_or_note(client.version, unchecked)
    with RuleSet() as rules, TraceSocket() as events, OwnedTable(chains) as table:
        heard = _heard(events, request.wait or 0.0)
        steps = StepReader(rules, table.name, interface_name).steps(heard)
        steps = _of_first_flow(steps, evidence.client)
        moved: tuple[LegacyRule, ...] = ()
        if counted:
            after = legacy.snapshot_or_note(client.version, unchecked)
            moved = legacy.moved(counted, after, request.address, request.port)
        service = kube_proxy.service(
            rules, request, unchecked, local=evidence.host.local, steps=steps, moved=moved
        )
    note = f"made nftables table inet {table.name} and waited for a packet of {client}"
    return replace(
        evidence,
        steps=steps,
        service=service,
        legacy=moved,
        waited=True,
        unchecked=tuple(unchecked),
        notes=(note,),
    )


def _heard(events: TraceSocket, wait: float) -> list[TraceEvent]:
    """The events of the first packet and of what follows it at once."""
    heard: list[TraceEvent] = []
    end = time.monotonic() + wait
    while not heard and time.monotonic() < end:
        heard += events.take(min(_QUICK, max(0.0, end - time.monotonic())))
    if heard:
        until = time.monotonic() + _ANSWER
        while time.monotonic() < until:
            heard += events.take(_QUICK)
    return heard


def _of_first_flow(steps: tuple[Step, ...], client: str) -> tuple[Step, ...]:
    """The steps of the first packet's flow: the client may have others."""
    first = next((step for step in steps if step.source == client), None)
    if first is None:
        return ()
    port = first.source_port
    return tuple(
        step
        for step in steps
        if (step.source, step.source_port) == (client, port)
        or (step.destination == client and step.destination_port in (port, 0))
    )
