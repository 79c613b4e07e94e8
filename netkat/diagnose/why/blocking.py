"""The rule that stops a packet, and what it means where kube-proxy wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netkat.diagnose.why import names
from netkat.diagnose.why.evidence import Evidence, LegacyRule, Step
from netkat.diagnose.why.finding import Finding, Verdict

_STOPPING = ("DROP", "REJECT")
_ENDPOINT_CHECKS = ("service-endpoints-check", "nodeport-endpoints-check", "reject-chain")
_FIREWALLS = ("firewall-check", "KUBE-PROXY-FIREWALL")
_BUILT_IN = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")


def blocking_step(
    steps: Sequence[Step], hooks: Sequence[str], *, reply: bool | None = None
) -> Step | None:
    """The first step of these hooks that stops a packet; netkat's own table does not count.

    ``reply``: of answers alone, or of none.
    """
    for step in steps:
        if step.stops and not step.own and step.hook in hooks and reply in (None, step.reply):
            return step
    return None


def blocking_legacy_rule(rules: Sequence[LegacyRule]) -> LegacyRule | None:
    """The rule of iptables-legacy that stopped the packet; a policy that does comes last."""
    stopping = [rule for rule in rules if rule.target in _STOPPING]
    named = [rule for rule in stopping if rule.text]
    policies = [rule for rule in stopping if not rule.text and rule.chain in _BUILT_IN]
    return next(iter(named + policies), None)


def classify(evidence: Evidence, rule: Step | LegacyRule, default: Finding) -> Finding:
    """``default``, or what kube-proxy means by this rule."""
    table = rule.table
    if not names.by_kube_proxy(table, rule.chain):
        return default
    comment, chain = rule.comment, rule.chain
    about = names.from_comment(comment) or names.from_chain(chain)
    service = evidence.service
    if service.name:
        about = names.ServiceName(service.name, service.port)
    who = str(about or evidence.target.end)
    if chain in _ENDPOINT_CHECKS or "has no endpoints" in comment or "no local end" in comment:
        return _without_endpoints(evidence, default, who, comment)
    if chain in _FIREWALLS or chain.startswith(("firewall-", "KUBE-FW-")):
        return replace(
            default,
            verdict=Verdict.OUTSIDE_SOURCE_RANGES,
            text=f"{who} does not accept {evidence.client} ({evidence.client_kind}):"
            " it is outside loadBalancerSourceRanges",
            next="add the address to the Service's loadBalancerSourceRanges,"
            " or ask for another client: --client, --claim",
        )
    if chain == "cluster-ips-check":
        return replace(
            default,
            verdict=Verdict.NO_RULE,
            text=f"{evidence.target.address} is a ClusterIP without port"
            f" {evidence.target.port}/{evidence.target.protocol}",
            next="kubectl get service -A shows which ports it has",
        )
    return default


def _without_endpoints(evidence: Evidence, default: Finding, who: str, comment: str) -> Finding:
    local = "no local end" in comment or (
        evidence.service.no_endpoints == "drop" and "has no endpoints" not in comment
    )
    if local:
        return replace(
            default,
            verdict=Verdict.NO_LOCAL_ENDPOINT,
            text=f"{who} has no endpoint on this node (externalTrafficPolicy: Local)",
            next="find out why this node receives the traffic:"
            " load balancer targets, announcer, stale ARP",
        )
    return replace(
        default,
        verdict=Verdict.NO_ENDPOINTS,
        text=f"{who} has no endpoints",
        next="kubectl get endpointslices: are its pods ready, does its selector match?",
    )
