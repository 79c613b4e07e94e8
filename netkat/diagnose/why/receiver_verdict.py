"""From evidence to findings, on the receiver: a pure function."""

from __future__ import annotations

from collections.abc import Callable

from netkat.diagnose.why import rule_path
from netkat.diagnose.why.blocking import blocking_legacy_rule, classify
from netkat.diagnose.why.evidence import Evidence, Step, endpoint
from netkat.diagnose.why.finding import Finding, Verdict
from netkat.diagnose.why.icmp import icmp_name
from netkat.diagnose.why.names import ServiceName

_POLICY_CHAINS = (
    "cali-",
    "KUBE-POD-FW-",
    "KUBE-NWPLCY-",
    "KUBE-ROUTER-",
    "CILIUM_",
    "KUBE-NETWORK-POLICIES",
)
_POLICY_TABLES = ("kube-network-policies", "calico", "kube-router", "antrea")
_LOOK_AT_RULE = "change this rule, or whatever wrote it"


def conclude(evidence: Evidence) -> tuple[Finding, ...]:
    """The findings; the first is the verdict. Never empty."""
    for rule in _RULES:
        if (found := rule(evidence)) is not None:
            return (found,)
    return (_silent(evidence),)


def _programs(evidence: Evidence) -> Finding | None:
    if not evidence.hooks:
        return None
    return Finding(
        Verdict.UNDECIDED,
        f"nothing was injected: a program on {evidence.host.interface} may send packets past"
        " the rules, so that they could leave this host",
        evidence.hooks,
        "use the tools of the network plug-in that owns the program (cilium monitor, calico-bpf)",
    )


def _nothing_arrived(evidence: Evidence) -> Finding | None:
    if not evidence.waited or evidence.steps:
        return None
    return Finding(
        Verdict.NOTHING_ARRIVED,
        f"no packet of {evidence.client} to {evidence.target.end} arrived in that time:"
        " the loss is before this host",
        next="was it sent? Check the load balancer's targets, or another node",
    )


def _blocked(evidence: Evidence) -> Finding | None:
    """A rule of the host stopped the client's packet, on any hook."""
    step = next((one for one in _there(evidence) if one.stops and not one.own), None)
    if step is not None:
        line = rule_path.describe(evidence.steps, step)
        return classify(evidence, step, _stopped(step.hook, step.table, step.chain, line))
    rule = blocking_legacy_rule(evidence.legacy)
    if rule is None or _back(evidence):
        return None
    chain = rule_path.base_chain(evidence.legacy, rule)
    line = rule_path.describe_legacy(evidence.legacy, rule)
    return classify(evidence, rule, _stopped(chain.lower(), rule.table, rule.chain, line))


def _stopped(hook: str, table: str, chain: str, line: str) -> Finding:
    if _is_policy(table, chain):
        text = "a network policy of the pod does not allow this client"
        return Finding(
            Verdict.BLOCKED_POLICY,
            text,
            (line,),
            "kubectl get networkpolicies -A: which of them selects the pod?",
        )
    forward = hook in ("forward", "postrouting")
    verdict = Verdict.BLOCKED_FORWARD if forward else Verdict.BLOCKED_INPUT
    where = "before it is forwarded to the pod" if forward else "before it reaches a local process"
    if hook in ("prerouting", "ingress"):
        where = "before it is routed"
    return Finding(verdict, f"this host's rules stop the packet {where}", (line,), _LOOK_AT_RULE)


def _is_policy(table: str, chain: str) -> bool:
    return chain.startswith(_POLICY_CHAINS) or table.partition(" ")[2].startswith(_POLICY_TABLES)


def _leaving(evidence: Evidence) -> Finding | None:
    """netkat's own table ended it at an interface that leads out of this host."""
    step = next((one for one in _there(evidence) if one.stops and one.own), None)
    if step is None:
        return None
    there = endpoint(step.destination, step.destination_port)
    if there != evidence.target.end:
        return Finding(
            Verdict.FORWARDED,
            f"it would be sent on by {step.oif} to {there} on another host; netkat stopped it here",
            _service_lines(evidence),
            f"on the node of {step.destination}: netkat why --incoming"
            f" {step.destination} {step.destination_port}",
        )
    by = f" to {evidence.host.gateway}" if evidence.host.gateway else ""
    return Finding(
        Verdict.NOT_THIS_NODE,
        f"{evidence.target.address} is no address of this node, and no rule here is for it:"
        f" it would be forwarded by {step.oif}{by}",
        next="find out why the traffic comes here, or run it on the node that has the address",
    )


def _reply(evidence: Evidence) -> Finding | None:
    """An answer was seen: what became of it."""
    back = _back(evidence)
    if not back:
        return None
    stop = next((step for step in back if step.stops and not step.own), None)
    if stop is not None:
        line = rule_path.describe(evidence.steps, stop)
        return Finding(
            Verdict.REPLY_BLOCKED,
            f"{_who(evidence)} accepts, but this host's rules stop its answer",
            (line,),
            _LOOK_AT_RULE,
        )
    flags = back[0].flags
    if "R" in flags or flags in ("icmp 3 3", "icmp 1 4"):
        return _nothing_listens(evidence, back[0])
    if flags.startswith("icmp"):
        return None
    out = next((step.oif for step in back if step.hook == "postrouting" and step.oif), "")
    if out and out != evidence.host.interface:
        return Finding(
            Verdict.REPLY_ELSEWHERE,
            f"{_who(evidence)} accepts, but the answer leaves by {out}, not by"
            f" {evidence.host.interface}, where the packet came in",
            next=f"ip route get {evidence.client}: routers on the path may drop such answers",
        )
    return Finding(
        Verdict.ACCEPTED,
        f"{_who(evidence)} answered: if a client still gets nothing, the loss is before this host",
        _service_lines(evidence),
    )


def _nothing_listens(evidence: Evidence, step: Step) -> Finding:
    whose = "this host" if step.hook == "output" else "the pod"
    return Finding(
        Verdict.NOTHING_LISTENS,
        f"{whose} answers with {answer_name(step)}: nothing listens on {_who(evidence)}",
        _service_lines(evidence),
        "ss -ltnu there; a Service's targetPort must be the port of its pods",
    )


def _kernel(evidence: Evidence) -> Finding | None:
    """Neither stopped by a rule nor answered, and the kernel says or shows why."""
    host = evidence.host
    if evidence.drops:
        text = f"the kernel dropped the packet [{', '.join(evidence.drops)}]"
        return _kernel_drop(evidence, text)
    hooks = {step.hook for step in _there(evidence)}
    if hooks - {"prerouting", "ingress"}:
        return None
    if not host.local and not host.ip_forward:
        return _kernel_drop(evidence, "the kernel dropped the packet: ip_forward is off")
    if host.rp_filter == 1 and host.reverse_interface not in ("", host.interface):
        return _kernel_drop(evidence, "the kernel dropped the packet: rp_filter is strict")
    return None


def _kernel_drop(evidence: Evidence, text: str) -> Finding:
    host, facts = evidence.host, []
    if host.rp_filter and host.reverse_interface not in ("", host.interface):
        facts.append(
            f"rp_filter is on, and the route back to {evidence.client} is by"
            f" {host.reverse_interface}, not {host.interface}"
        )
    if not host.ip_forward:
        facts.append(
            "net.ipv4.ip_forward is 0" if ":" not in evidence.client else "forwarding is 0"
        )
    if host.route_error:
        facts.append(host.route_error)
    return Finding(Verdict.KERNEL_DROP, text, tuple(facts), "sysctl net.ipv4; ip route")


def _silent(evidence: Evidence) -> Finding:
    udp = evidence.target.protocol == "udp"
    last = next(reversed([step for step in _there(evidence) if step.hook]), None)
    if last is None:
        return Finding(
            Verdict.UNDECIDED,
            f"no rule of this host saw the packet that arrived on {evidence.host.interface}",
            next="netkat doctor says what is missing here",
        )
    end = endpoint(last.destination, last.destination_port)
    out = next((step.oif for step in reversed(_there(evidence)) if step.oif), "")
    by = f" by {out}" if out else ""
    return Finding(
        Verdict.SILENT,
        f"delivered to {end}{by}, which does not answer"
        + (" (a UDP service need not reply)" if udp else ""),
        _service_lines(evidence),
        "in the pod or process: ss -ltnu; is its own firewall in the way?",
        open=udp,
    )


def _who(evidence: Evidence) -> str:
    """The endpoint that the packet was delivered to."""
    delivered = [step for step in _there(evidence) if step.destination and not step.stops]
    if not delivered:
        return evidence.target.end
    return endpoint(delivered[-1].destination, delivered[-1].destination_port)


def _there(evidence: Evidence) -> list[Step]:
    return [step for step in evidence.steps if not is_answer(step, evidence)]


def _back(evidence: Evidence) -> list[Step]:
    return [step for step in evidence.steps if is_answer(step, evidence)]


def answer_name(step: Step) -> str:
    """SYN-ACK, RST, an ICMP error by its name, or a datagram."""
    kind, _, numbers = step.flags.partition(" ")
    if kind == "icmp":
        icmp_type, code = map(int, numbers.split())
        return f"ICMP {icmp_name(6 if ':' in step.source else 4, icmp_type, code)}"
    return {"SA": "SYN-ACK", "R": "RST", "RA": "RST"}.get(step.flags, step.flags or "datagram")


def is_answer(step: Step, evidence: Evidence) -> bool:
    """Whether the step is of an answer: to the client, or to what masquerade made of it."""
    if step.destination == evidence.client:
        return True
    return step.reply and step.source != evidence.client


def _service_lines(evidence: Evidence) -> tuple[str, ...]:
    service = evidence.service
    if not service.name:
        return ()
    return (f"{ServiceName(service.name, service.port)}, by kube-proxy ({service.mode})",)


_Rule = Callable[[Evidence], "Finding | None"]
_RULES: tuple[_Rule, ...] = (_programs, _nothing_arrived, _blocked, _leaving, _reply, _kernel)
