"""From look-ups to findings: kube-proxy's rules alone; those of other tables stay undecided."""

from __future__ import annotations

from netkat.diagnose.why.evidence import Evidence
from netkat.diagnose.why.finding import Finding, Verdict
from netkat.diagnose.why.names import ServiceName


def conclude(evidence: Evidence) -> tuple[Finding, ...]:
    """One finding. The rules of other programs are not evaluated, and nothing was sent."""
    service = evidence.service
    if service.running and not service.mode:
        return (
            Finding(
                Verdict.KUBE_PROXY_RULES_MISSING,
                "kube-proxy runs on this host, but none of its rules are here",
                next="find out what flushed them, then restart kube-proxy",
            ),
        )
    if not service.name:
        return (_no_service(evidence),)
    who = str(ServiceName(service.name, service.port))
    by = f"{who}, by kube-proxy ({service.mode})"
    without = _without_endpoints(evidence, who)
    if without is not None:
        return (without,)
    if service.source_ranges:
        return (_undecided(f"{who} has loadBalancerSourceRanges, which are not evaluated", by),)
    if evidence.incoming:
        ends = ", ".join(service.endpoints) or "its endpoints"
        return (_undecided(f"kube-proxy sends it to {ends}; other rules were not evaluated", by),)
    if evidence.host.local:
        return (
            Finding(
                Verdict.OWN_ADDRESS,
                "it is an address of this host: no packet to it leaves",
                (by,),
                f"netkat why --incoming {evidence.target.address} {evidence.target.port}",
            ),
        )
    ends = ", ".join(service.endpoints) or "one of its endpoints"
    if service.cluster_ip or service.kind == "cluster_ip":
        text = f"a ClusterIP exists in this host's rules only: sent to {ends}"
        return (Finding(Verdict.CLUSTER_INTERNAL, text, (by,), _RUN, open=True),)
    text = f"this host's own rules send a connection from here to {ends}"
    return (Finding(Verdict.CAPTURED_NAT, text, (by,), _RUN),)


def _without_endpoints(evidence: Evidence, who: str) -> Finding | None:
    service = evidence.service
    local_only = service.no_endpoints == "drop"
    if not service.no_endpoints or (local_only and not evidence.incoming and service.endpoints):
        return None
    if local_only:
        return Finding(
            Verdict.NO_LOCAL_ENDPOINT,
            f"{who} has no endpoint on this node (externalTrafficPolicy: Local)",
            next="find out why this node receives the traffic",
        )
    return Finding(
        Verdict.NO_ENDPOINTS,
        f"{who} has no endpoints",
        next="kubectl get endpointslices: are its pods ready, does its selector match?",
    )


def _no_service(evidence: Evidence) -> Finding:
    target, service = evidence.target, evidence.service
    if service.cluster_ip:
        return Finding(
            Verdict.NO_RULE,
            f"{target.address} is a ClusterIP without port {target.port}/{target.protocol}",
            next="kubectl get service -A shows which ports it has",
        )
    if evidence.host.local and not evidence.incoming:
        return Finding(
            Verdict.OWN_ADDRESS,
            "it is an address of this host: no packet to it leaves",
            next=f"netkat why --incoming {target.address} {target.port}",
        )
    return _undecided(f"kube-proxy's rules have nothing for {target.end}/{target.protocol}")


def _undecided(text: str, *rules: str) -> Finding:
    return Finding(Verdict.UNDECIDED, text, rules, _RUN)


_RUN = "without --read-only one packet is sent and followed through every table"
