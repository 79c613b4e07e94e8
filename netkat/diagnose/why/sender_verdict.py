"""From evidence to findings, on the sender: a pure function.

Each rule below looks for one thing. Those that apply are reported nearest to the sender first.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

from netkat.diagnose.why import rule_path
from netkat.diagnose.why.blocking import blocking_legacy_rule, blocking_step, classify
from netkat.diagnose.why.derived import (
    OUT,
    answer_arrived,
    captured,
    in_brackets,
    is_cluster_ip,
    kernel_end,
    nat_lines,
    service_line,
    service_name,
)
from netkat.diagnose.why.evidence import Evidence
from netkat.diagnose.why.finding import Finding, Verdict

_IN = ("ingress", "prerouting", "input")


def conclude(evidence: Evidence) -> tuple[Finding, ...]:
    """The findings; the first is the verdict. Never empty."""
    found = [finding for rule in _RULES if (finding := rule(evidence)) is not None]
    return tuple(found) or (_undecided(evidence),)


def _intermittent(evidence: Evidence) -> Finding | None:
    runs = evidence.runs
    if len(set(runs)) < 2:
        return None
    counts = {each: runs.count(each) for each in dict.fromkeys(runs)}
    shown = ", ".join(f"{count} of {len(runs)} {each}" for each, count in counts.items())
    moved = tuple(f"conntrack {name}: +{more}" for name, more in evidence.counters.items())
    return Finding(
        Verdict.INTERMITTENT,
        f"results differ from run to run: {shown} (kernel/bypass)",
        moved,
        "run it again with a larger --count; compare the endpoints that answered",
    )


def _captured_socket(evidence: Evidence) -> Finding | None:
    peer = evidence.kernel.peer
    if not peer or peer == evidence.target.end:
        return None
    programs = evidence.cgroup_programs or ("no cgroup program is visible from here",)
    reported = evidence.kernel.reported_peer
    hidden = " although getpeername() reports the target" if reported == evidence.target.end else ""
    return Finding(
        Verdict.CAPTURED_SOCKET,
        f"a program redirected the kernel's socket to {peer} before any packet existed{hidden}",
        programs,
        "bpftool cgroup tree shows the programs; the bypass result is what a client sees",
    )


def _blocked(evidence: Evidence) -> Finding | None:
    for hooks, verdict, where in (
        (OUT, Verdict.BLOCKED_OUTPUT, "this host's rules drop or reject the outgoing packet"),
        (_IN, Verdict.BLOCKED_INPUT, "this host's rules drop or reject the incoming answer"),
    ):
        step = blocking_step(evidence.steps, hooks)
        if step is not None:
            line = rule_path.describe(evidence.steps, step)
            return classify(evidence, step, Finding(verdict, where, (line,), _LOOK_AT_RULE))
    rule = None if evidence.kernel.works else blocking_legacy_rule(evidence.legacy)
    if rule is None:
        return None
    inward = rule_path.base_chain(evidence.legacy, rule) in ("INPUT", "PREROUTING")
    verdict = Verdict.BLOCKED_INPUT if inward else Verdict.BLOCKED_OUTPUT
    where = "incoming" if inward else "outgoing"
    line = rule_path.describe_legacy(evidence.legacy, rule)
    default = Finding(
        verdict,
        f"a rule of iptables-legacy drops or rejects the {where} packet",
        (line,),
        _LOOK_AT_RULE,
    )
    return classify(evidence, rule, default)


def _no_route(evidence: Evidence) -> Finding | None:
    if not evidence.host.route_error or evidence.host.local or evidence.kernel.works:
        return None
    return Finding(
        Verdict.NO_ROUTE,
        evidence.host.route_error,
        next=f"ip route get {evidence.target.address}",
    )


def _kernel_drop(evidence: Evidence) -> Finding | None:
    # A packet that comes back to its own sender is a martian: the hairpin is the reason.
    if not evidence.drops or evidence.kernel.works or evidence.bypass.outcome == "hairpin":
        return None
    reasons = ", ".join(evidence.drops)
    facts = _drop_facts(evidence)
    return Finding(
        Verdict.KERNEL_DROP,
        f"the kernel dropped the packet or its answer [{reasons}]",
        facts,
        "netkat sniff --drops shows each drop with its place in the kernel",
    )


def _drop_facts(evidence: Evidence) -> tuple[str, ...]:
    host = evidence.host
    arrived = {seen.interface for seen in evidence.frames if not seen.sent} - {"lo"}
    if not host.rp_filter or not arrived:
        return ()
    how = {1: "strict", 2: "loose"}.get(host.rp_filter, str(host.rp_filter))
    where = ", ".join(sorted(arrived))
    return (f"rp_filter is {how}: the answer came by {where}, the route is by {host.interface}",)


def _missing_rules(evidence: Evidence) -> Finding | None:
    service = evidence.service
    if not service.running or service.mode:
        return None
    return Finding(
        Verdict.KUBE_PROXY_RULES_MISSING,
        "kube-proxy runs on this host, but none of its rules are here",
        next="find out what flushed them (a firewall's restart?), then restart kube-proxy",
    )


def _captured_nat(evidence: Evidence) -> Finding | None:
    if not captured(evidence) or not evidence.kernel.works:
        return None
    if is_cluster_ip(evidence) or evidence.host.local:
        return None
    rules = (service_line(evidence), *nat_lines(evidence))
    rules = tuple(filter(None, rules))
    there = kernel_end(evidence)
    if evidence.bypass.works:
        return Finding(
            Verdict.DIFFERENT_SERVERS,
            f"both paths answer, but this host's own rules sent the kernel's connection to {there}",
            rules,
            "a client's connection takes the bypass path: compare the answers themselves",
        )
    return Finding(
        Verdict.CAPTURED_NAT,
        "the kernel's answer came from this host's own rules; past them"
        f" {_BYPASS_WORDS.get(evidence.bypass.outcome, 'it could not be checked')}",
        rules,
        _incoming(evidence),
    )


def _hairpin(evidence: Evidence) -> Finding | None:
    if evidence.bypass.outcome != "hairpin":
        return None
    return Finding(
        Verdict.HAIRPIN,
        "the network sent the packet back to this host, as its own backend;"
        " it drops a packet with its own source address",
        next="run it on another host, or choose another next hop: netkat --via",
    )


def _cluster_internal(evidence: Evidence) -> Finding | None:
    if not is_cluster_ip(evidence) or not captured(evidence) or not evidence.kernel.works:
        return None
    return Finding(
        Verdict.CLUSTER_INTERNAL,
        f"a ClusterIP exists in this host's rules only: answered by {kernel_end(evidence)}",
        tuple(filter(None, (service_line(evidence), *nat_lines(evidence)))),
        works=True,
    )


def _held_here(evidence: Evidence) -> Finding | None:
    """IPVS puts the addresses of all Services on an interface of each node."""
    kernel, bypass, host = evidence.kernel, evidence.bypass, evidence.host
    if not host.local or bypass.outcome in _NOT_SENT:
        return None
    ended = "was answered" if kernel.works else f"ended ({kernel.outcome.replace('_', ' ')})"
    past = "the address answers" if bypass.works else _BYPASS_WORDS.get(bypass.outcome, "it fails")
    return Finding(
        Verdict.CAPTURED_NAT,
        f"this host holds the address itself, on {host.local_interface or 'a local route'}:"
        f" the kernel's connection {ended} here; past this host {past}",
        tuple(filter(None, (service_line(evidence), *nat_lines(evidence)))),
        f"ipvsadm -Ln shows IPVS Services; {_incoming(evidence)}",
    )


def _own_address(evidence: Evidence) -> Finding | None:
    if not evidence.host.local or evidence.bypass.outcome not in _NOT_SENT:
        return None
    rules = (service_line(evidence), *nat_lines(evidence)) if captured(evidence) else ()
    return Finding(
        Verdict.OWN_ADDRESS,
        "it is an address of this host: no packet to it leaves, so the kernel's answer is local",
        tuple(filter(None, rules)),
        f"what a client meets here: netkat why --incoming {_words(evidence)}",
    )


def _no_rule(evidence: Evidence) -> Finding | None:
    """A private address that only a default route leads to, on a node whose rules lack it."""
    service, target = evidence.service, evidence.target
    silent = evidence.kernel.outcome in ("no_answer", "unreachable")
    if not service.mode or service.name or not silent or evidence.kernel.works:
        return None
    outside = not ip_address(target.address).is_private or evidence.host.specific_route
    if outside and not service.cluster_ip:
        return None
    return Finding(
        Verdict.NO_RULE,
        f"kube-proxy's rules here ({service.mode}) have nothing for {target.end}/{target.protocol}",
        next="kubectl get service -A -o wide: is it an address and port of a Service?"
        " (ipMode Proxy has no rules)",
    )


def _stale(evidence: Evidence) -> Finding | None:
    if not evidence.stale:
        return None
    lines = tuple(
        f"{entry.source} → {entry.destination} is sent to {entry.reply_source}"
        for entry in evidence.stale[:5]
    )
    entries = "1 entry leads" if len(evidence.stale) == 1 else f"{len(evidence.stale)} entries lead"
    return Finding(
        Verdict.STALE_CONNTRACK,
        f"conntrack: {entries} to endpoints that {service_name(evidence)} does not have",
        lines,
        f"conntrack -D -p {evidence.target.protocol} -d {evidence.target.address}"
        f" --dport {evidence.target.port}",
    )


def _same(evidence: Evidence) -> Finding | None:
    if not (evidence.kernel.works and evidence.bypass.works) or captured(evidence):
        return None
    if evidence.kernel.peer not in ("", evidence.target.end):
        return None
    return Finding(Verdict.SAME, "both paths reach the same address without any rule of this host")


def _refused(evidence: Evidence) -> Finding | None:
    kernel, bypass = evidence.kernel, evidence.bypass
    if kernel.outcome != "refused":
        return None
    there = captured(evidence)
    if bypass.outcome != "refused" and not there:
        return None
    if kernel.sender not in ("", evidence.target.address, kernel_end(evidence).rsplit(":", 1)[0]):
        return None
    who = f"the endpoint {kernel_end(evidence)}" if there else "the peer"
    return Finding(
        Verdict.REFUSED,
        f"{who} refused: nothing listens on this port [{kernel.reason}]",
        tuple(filter(None, (service_line(evidence), *nat_lines(evidence)))) if there else (),
        "ss -ltnu on the peer; a Service's targetPort must be the port of its pods",
    )


def _rejected(evidence: Evidence) -> Finding | None:
    kernel, bypass = evidence.kernel, evidence.bypass
    probe = kernel if kernel.sender and kernel.sender != evidence.host.source else bypass
    if probe.works or kernel.works or not probe.sender or is_cluster_ip(evidence):
        return None
    if blocking_step(evidence.steps, OUT) is not None:
        return None
    if probe.sender == evidence.target.address or kernel.outcome == "no_answer":
        return None
    if probe.outcome not in ("rejected", "unreachable", "refused"):
        return None
    return Finding(
        Verdict.REJECTED,
        f"{probe.sender} on the path rejects it [{in_brackets(probe.reason)}]",
        next=f"check the routes and firewall rules of {probe.sender}",
    )


def _silent(evidence: Evidence) -> Finding | None:
    kernel, bypass = evidence.kernel, evidence.bypass
    if kernel.outcome not in ("no_answer", "unreachable") or bypass.sender:
        return None
    through_nat = captured(evidence)
    if not through_nat and bypass.outcome not in ("no_answer", "next_hop_silent"):
        return None
    if answer_arrived(evidence):
        return None
    udp = evidence.target.protocol == "udp"
    if through_nat:
        text = f"the endpoint {kernel_end(evidence)} does not answer"
    elif bypass.outcome == "next_hop_silent":
        text = f"no machine answers for the next hop's address [{in_brackets(bypass.reason)}]"
    else:
        text = "nothing comes back on either path: the loss is after this host"
    return Finding(
        Verdict.SILENT,
        text + (" (a UDP service need not reply)" if udp else ""),
        tuple(filter(None, (service_line(evidence), *nat_lines(evidence)))) if through_nat else (),
        "on the host that should answer: netkat sniff, or netkat why --incoming",
        open=udp,
    )


def _undecided(evidence: Evidence) -> Finding:
    kernel, bypass = evidence.kernel, evidence.bypass
    if not kernel.works and answer_arrived(evidence):
        text = (
            "an answer arrived at this host, and neither a rule nor a reason for its loss is known"
        )
    elif kernel.works and not bypass.works:
        text = f"the kernel's connection works, netkat's own does not: {bypass.reason}"
    else:
        text = f"kernel: {kernel.outcome}, bypass: {bypass.outcome}; nothing explains it"
    return Finding(
        Verdict.UNDECIDED, text, next="netkat doctor says what keeps netkat from working here"
    )


def _incoming(evidence: Evidence) -> str:
    return f"on the node that receives this traffic: netkat why --incoming {_words(evidence)}"


def _words(evidence: Evidence) -> str:
    udp = "-u " if evidence.target.protocol == "udp" else ""
    return f"{udp}{evidence.target.address} {evidence.target.port}"


_NOT_SENT = frozenset({"own_address", "no_route", "not_run"})
_LOOK_AT_RULE = "change this rule, or whatever wrote it"
_BYPASS_WORDS = {
    "no_answer": "there is no answer",
    "refused": "the connection is refused",
    "rejected": "the connection is rejected",
    "unreachable": "the address is unreachable",
    "hairpin": "the network sends the packet back to this host",
    "next_hop_silent": "the next hop does not answer",
    "own_address": "nothing leaves: it is an address of this host",
}

_Rule = Callable[[Evidence], "Finding | None"]
_RULES: tuple[_Rule, ...] = (
    _intermittent,
    _captured_socket,
    _blocked,
    _no_route,
    _kernel_drop,
    _stale,
    _cluster_internal,
    _captured_nat,
    _held_here,
    _own_address,
    _missing_rules,
    _no_rule,
    _hairpin,
    _same,
    _refused,
    _rejected,
    _silent,
)
"""Nearest to the sender first."""
