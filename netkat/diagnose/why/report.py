"""The report for people: what was done, the verdict, the rule, the next step."""

from __future__ import annotations

from collections.abc import Iterator

from netkat.diagnose.why import rule_path
from netkat.diagnose.why.derived import in_brackets, kernel_end
from netkat.diagnose.why.evidence import Evidence, Probe, Step
from netkat.diagnose.why.receiver_verdict import answer_name, is_answer
from netkat.diagnose.why.result import WhyResult

_ARTICLES = {"external client": "an", "node address": "a", "claimed address": "a"}


def report(result: WhyResult) -> list[str]:
    """The lines of the report."""
    evidence = result.evidence
    lines = _head(evidence)
    verdict, *others = result.findings
    lines.append(f"{verdict.verdict.heading}  {verdict.text}")
    lines += [f"  {rule}" for rule in verdict.rules]
    for finding in others:
        lines.append(f"  also: {finding.verdict.heading}  {finding.text}")
        lines += [f"    {rule}" for rule in finding.rules]
    if verdict.next:
        lines.append(f"  next: {verdict.next}")
    if evidence.rules_changed:
        lines.append("  the rule set changed during the probe, twice: run it again")
    lines += [f"  not checked: {what}" for what in evidence.unchecked]
    if evidence.incoming:
        lines.append("  not covered: the NIC, native XDP, and everything before this host")
    return lines


def trace(evidence: Evidence) -> Iterator[str]:
    """--trace: every rule and policy, one packet after another."""
    packet = None
    for step in evidence.steps:
        if step.packet != packet:
            packet = step.packet
            yield _packet(step)
        if not step.own:
            where = f"{step.hook or '?':<11} {step.table} {step.chain}"
            yield f"  {where}: {_action(step)}"
    for rule in evidence.legacy:
        text = rule.text or f"policy {rule.target}"
        yield f"  iptables-legacy {rule.table} {rule.chain}: {text} (+{rule.packets} packets)"


def _head(evidence: Evidence) -> list[str]:
    target, host = evidence.target, evidence.host
    asked = f"{target.end}/{target.protocol}"
    if target.host != target.address:
        asked += f" ({target.host})"
    kind = f"{_ARTICLES.get(evidence.client_kind, 'a')} {evidence.client_kind}"
    if evidence.incoming:
        where = f"arriving at {host.name} ({host.interface}) from {evidence.client} ({kind})"
        return [f"{asked} {where}", *_arrival(evidence)]
    where = ", ".join(filter(None, (host.interface, evidence.client, kind)))
    lines = [f"{asked} from {host.name} ({where})"]
    if evidence.kernel.outcome != "not_run":
        lines.append(f"  kernel   {_kernel(evidence)}")
    if evidence.bypass.outcome != "not_run":
        lines.append(f"  bypass   {_bypass(evidence)}")
    elif evidence.bypass.reason:
        lines.append(f"  bypass   not run: {evidence.bypass.reason}")
    return lines


def _kernel(evidence: Evidence) -> str:
    probe, target = evidence.kernel, evidence.target
    text = _outcome(probe, target.protocol)
    there = kernel_end(evidence)
    if probe.works and there != target.end:
        text += f" to {there}"
        if not _left(evidence):
            what = "SYN" if target.protocol == "tcp" else "datagram"
            text += f"; no {what} to {target.address} left this host"
    return text


def _bypass(evidence: Evidence) -> str:
    text = _outcome(evidence.bypass, evidence.target.protocol)
    hop = evidence.bypass.next_hop or evidence.host.gateway or evidence.target.address
    mac = next((seen.mac for seen in evidence.frames if seen.sent and _to(seen, evidence)), "")
    if mac and evidence.bypass.outcome in ("connected", "no_answer", "hairpin"):
        text += f" by {hop} ({mac})"
    return text


def _outcome(probe: Probe, protocol: str) -> str:
    if probe.works:
        verb = "connected" if protocol == "tcp" else "answered"
        return f"{verb} in {probe.seconds * 1e3:.1f} ms"
    what = "SYN" if protocol == "tcp" else "datagram"
    if probe.outcome == "no_answer":
        sent = max(probe.sent, 1)
        return f"no answer to {sent} {what}{'' if sent == 1 else 's'}"
    words = probe.outcome.replace("_", " ")
    by = f" by {probe.sender}" if probe.sender else ""
    reason = in_brackets(probe.reason).removeprefix(f"{words}: ")
    return f"{words}{by} [{reason}]"


def _arrival(evidence: Evidence) -> list[str]:
    """Which hooks the packet passed, and its answer."""
    steps = [step for step in evidence.steps if step.hook]
    passed = dict.fromkeys(step.hook for step in steps if not is_answer(step, evidence))
    back = [step for step in steps if is_answer(step, evidence)]
    lines = [f"  packet   {' > '.join(passed) or 'seen by no rule'}"]
    if back:
        answer = answer_name(back[0])
        hooks = dict.fromkeys(step.hook for step in back)
        end = "" if evidence.waited else "; stopped before it left"
        lines.append(f"  answer   {answer}: {' > '.join(hooks)}{end}")
    return lines


def _left(evidence: Evidence) -> bool:
    port = evidence.kernel.source_port
    return any(
        seen.sent and _to(seen, evidence) and seen.source_port == port for seen in evidence.frames
    )


def _to(seen: object, evidence: Evidence) -> bool:
    return getattr(seen, "destination", "") == evidence.target.address


def _packet(step: Step) -> str:
    flags = f" [{step.flags}]" if step.flags else ""
    source = _end(step.source, step.source_port)
    return f"{source} > {_end(step.destination, step.destination_port)}{flags}"


def _end(address: str, port: int) -> str:
    return f"{address}.{port}" if port else address


def _action(step: Step) -> str:
    if step.jump:
        comment = f' "{step.comment}"' if step.comment else ""
        return f"{step.verdict} {step.jump}{comment}"
    return rule_path.what(step)
