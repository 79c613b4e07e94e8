"""Trace events as steps: hooks, rules' texts and the packet's addresses added to each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

from netkat.diagnose.why.evidence import Step
from netkat.diagnose.why.nft import uapi
from netkat.diagnose.why.nft.lookup import ChainFacts, Rule, RuleSet
from netkat.diagnose.why.nft.trace import TraceEvent
from netkat.diagnose.why.packets import Headers, parse
from netkat.netlink import NetlinkError

_HOOKS = {
    uapi.PREROUTING: "prerouting",
    uapi.INPUT: "input",
    uapi.FORWARD: "forward",
    uapi.OUTPUT: "output",
    uapi.POSTROUTING: "postrouting",
}
_NETDEV_HOOKS = {0: "ingress", 1: "egress"}
_MOST_PACKETS = 64
"""The number of packets that are reported; further retransmissions are equal."""


class _Base(NamedTuple):
    """What holds from a base chain's first event on."""

    hook: str
    chain: str
    headers: Headers | None


class StepReader:
    """Reads each rule once, however many packets met it."""

    def __init__(self, rule_set: RuleSet, own_table: str, interface: Callable[[int], str]) -> None:
        self._rule_set, self._own, self._interface = rule_set, own_table, interface
        self._rules: dict[tuple[int, str, str, int], Rule | None] = {}
        self._chains: dict[tuple[int, str, str], ChainFacts | None] = {}

    def steps(self, events: Iterable[TraceEvent]) -> tuple[Step, ...]:
        """Return the steps in order: of TCP, packets with SYN or RST, and any that is stopped."""
        bases: dict[int, _Base] = {}
        found: list[Step] = []
        for event in events:
            if event.network:
                base = _Base(self._hook(event), event.chain, parse(event.network + event.transport))
                bases[event.packet] = base
            if len(bases) > _MOST_PACKETS:
                break
            if event.kind == "rule" and not event.handle:
                continue  # an empty chain was entered
            found.append(self._step(event, bases.get(event.packet, _Base("", "", None))))
        stopped = {step.packet for step in found if step.stops}
        return tuple(
            step
            for step in found
            if not step.flags or set(step.flags) & {"S", "R"} or step.packet in stopped
        )

    def _step(self, event: TraceEvent, base: _Base) -> Step:
        rule = self._rule(event) if event.handle else None
        headers = base.headers
        ends = (
            (
                headers.source,
                headers.source_port,
                headers.destination,
                headers.destination_port,
                headers.flags,
            )
            if headers is not None
            else ("", 0, "", 0, "")
        )
        return Step(
            event.packet,
            base.hook,
            f"{uapi.FAMILIES.get(event.family, event.family)} {event.table}",
            base.chain,
            event.chain,
            event.kind,
            "" if event.verdict is None else str(event.verdict),
            event.jump,
            rule.text if rule else "",
            rule.comment if rule else "",
            bool(rule and rule.rejects),
            bool(rule and rule.translates),
            event.table == self._own,
            *ends,
            iif=self._interface(event.iif),
            oif=self._interface(event.oif),
        )

    def _rule(self, event: TraceEvent) -> Rule | None:
        key = (event.family, event.table, event.chain, event.handle)
        if key not in self._rules:
            self._rules[key] = None
            with suppress(NetlinkError):
                self._rules[key] = self._rule_set.rule(*key)
        return self._rules[key]

    def _hook(self, event: TraceEvent) -> str:
        key = (event.family, event.table, event.chain)
        if key not in self._chains:
            self._chains[key] = None
            with suppress(NetlinkError):
                self._chains[key] = self._rule_set.chain(*key)
        chain = self._chains[key]
        if chain is None or chain.hook is None:
            return ""
        hooks = _NETDEV_HOOKS if event.family == uapi.NFPROTO_NETDEV else _HOOKS
        return hooks.get(chain.hook, "")
