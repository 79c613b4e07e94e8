"""Evidence on the sender: the kernel's connection and netkat's, and all that was seen of them."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from netkat.diagnose.why import host_facts
from netkat.diagnose.why.bypass_probe import bypass_probe
from netkat.diagnose.why.evidence import Evidence, Probe, Target
from netkat.diagnose.why.kernel_drops import dropped
from netkat.diagnose.why.observers import Observers
from netkat.diagnose.why.request import Request
from netkat.errors import SetupError

_QUICK = 0.05
"""Seconds in which most peers have answered; after that the two connections wait side by side."""


def collect(request: Request) -> Evidence:
    """Probe, and return all that was observed. Errors: SetupError, OSError."""
    evidence = _once(request)
    if evidence.rules_changed:
        evidence = _once(request)
    if _unexplained(evidence):
        drops, unchecked = request.call(partial(dropped, request))
        evidence = replace(evidence, drops=drops, unchecked=evidence.unchecked + unchecked)
    if request.count > 1:
        evidence = _repeated(request, evidence)
    return evidence


def _once(request: Request) -> Evidence:
    target = Target(request.host, str(request.address), request.port, str(request.protocol))
    host = request.call(
        partial(
            host_facts.towards,
            request.address,
            request.protocol,
            request.port,
            request.interface,
        )
    )
    kind = "pod address" if request.in_pod else "node address"
    if request.claim:
        kind = "claimed address"
    evidence = Evidence(target, request.claim or host.source, kind, host=host)
    with ExitStack() as open_now:
        observers = request.call(lambda: Observers(request, host, open_now))
        kernel, bypass = _probe(request, observers)
        evidence = replace(evidence, kernel=kernel, bypass=bypass)
        return request.call(lambda: observers.complete(evidence))


def _probe(request: Request, observers: Observers) -> tuple[Probe, Probe]:
    """Both connections. The kernel's begins first and goes on while netkat's runs."""
    probe = observers.probe
    request.call(lambda: probe.start(request.payload))
    end = time.monotonic() + request.timeout
    probe.settled(time.monotonic() + min(_QUICK, request.timeout))
    quick = probe.result()
    if quick.outcome != "no_answer":
        return quick, _bypass(request)
    bypass = _bypass(request)
    if not request.call(observers.dropped_silently):
        probe.settled(end)
    return probe.result(), bypass


def _bypass(request: Request) -> Probe:
    try:
        return bypass_probe(
            str(request.address),
            request.port,
            str(request.protocol),
            timeout=request.timeout,
            payload=request.payload,
            netns=request.netns,
            claim=request.claim,
        )
    except SetupError as error:
        return Probe("not_run", reason=str(error))


def _unexplained(evidence: Evidence) -> bool:
    """Whether the kernel's connection failed, and neither a rule nor the peer is the reason."""
    if evidence.kernel.outcome not in ("no_answer", "not_permitted", "failed"):
        return False
    if any(step.stops for step in evidence.steps) or evidence.legacy:
        return False
    answered = any(not seen.sent for seen in evidence.frames)
    return evidence.bypass.works or answered or not evidence.frames


def _repeated(request: Request, evidence: Evidence) -> Evidence:
    """The other runs of --count: outcomes alone, and the counters that moved meanwhile."""
    runs = [f"{evidence.kernel.outcome}/{evidence.bypass.outcome}"]
    counters = dict(evidence.counters)
    for _ in range(request.count - 1):
        once = _once(request)
        runs.append(f"{once.kernel.outcome}/{once.bypass.outcome}")
        for name, more in once.counters.items():
            counters[name] = counters.get(name, 0) + more
        if once.kernel.outcome != evidence.kernel.outcome and evidence.kernel.works:
            evidence = once  # the run that failed says more
    return replace(evidence, runs=tuple(runs), counters=counters)
