"""What follows from the sender's evidence before any verdict: where the connection really went."""

from __future__ import annotations

from netkat.diagnose.why import rule_path
from netkat.diagnose.why.evidence import Evidence, endpoint
from netkat.diagnose.why.names import ServiceName

OUT = ("output", "postrouting", "egress")
"""Hooks of a locally generated packet."""


def service_name(evidence: Evidence) -> str:
    """ "Service default/web, port http"; the address where no Service is known."""
    service = evidence.service
    if not service.name:
        return evidence.target.end
    return str(ServiceName(service.name, service.port))


def captured(evidence: Evidence) -> bool:
    """NAT of this host sent the kernel's connection elsewhere than its socket is connected to."""
    if evidence.connection is not None:
        return evidence.connection.destination_translated
    return bool(_traced_end(evidence))


def kernel_end(evidence: Evidence) -> str:
    """Where the kernel's connection really went."""
    if evidence.connection is not None and evidence.connection.destination_translated:
        return evidence.connection.reply_source
    return _traced_end(evidence) or evidence.kernel.peer or evidence.target.end


def _traced_end(evidence: Evidence) -> str:
    """Where rules sent the packet, by its headers afterwards; "" where they left it alone.

    The conntrack entry of a connection that was refused or dropped is gone by now.
    """
    ends = {
        endpoint(step.destination, step.destination_port)
        for step in evidence.steps
        if step.hook in OUT and step.destination and not step.reply
    }
    return next(iter(ends - {evidence.target.end, evidence.kernel.peer}), "")


def in_brackets(reason: str) -> str:
    """Return the text in an error message's brackets, or the whole message."""
    return reason.partition("[")[2].rpartition("]")[0] or reason


def answer_arrived(evidence: Evidence) -> bool:
    """Whether a packet of the peer to the kernel\'s socket was received."""
    port = evidence.kernel.source_port
    return any(not seen.sent and seen.destination_port == port for seen in evidence.frames)


def is_cluster_ip(evidence: Evidence) -> bool:
    """Whether the target is a ClusterIP, with this port or without."""
    return evidence.service.cluster_ip or evidence.service.kind == "cluster_ip"


def service_line(evidence: Evidence) -> str:
    """The Service and kube-proxy\'s mode; "" where no Service is known."""
    service = evidence.service
    if not service.name:
        return ""
    return f"{service_name(evidence)}, by kube-proxy ({service.mode})"


def nat_lines(evidence: Evidence) -> tuple[str, ...]:
    """The rule that gave the packet another destination."""
    for step in evidence.steps:
        if step.translates and step.hook == "output" and "S" in step.flags + "S" * (not step.flags):
            return (rule_path.describe(evidence.steps, step),)
    for rule in evidence.legacy:
        if rule.target in ("DNAT", "REDIRECT"):
            return (rule_path.describe_legacy(evidence.legacy, rule),)
    return ()
