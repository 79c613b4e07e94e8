"""What kube-proxy's rules say of one address and port, by look-ups alone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from netkat.diagnose.why import names
from netkat.diagnose.why.evidence import LegacyRule, Service, Step
from netkat.diagnose.why.nft import uapi
from netkat.diagnose.why.nft.lookup import Element, RuleSet, concatenation
from netkat.diagnose.why.request import Request
from netkat.flow import IPAddress, Protocol
from netkat.netlink import NetlinkError

TABLE = "kube-proxy"
NFTABLES, IPTABLES, LEGACY = "nftables", "iptables-nft", "iptables-legacy"
_KINDS = {
    "cluster IP": "cluster_ip",
    "loadbalancer IP": "external",
    "external IP": "external",
}
_COMM = "kube-proxy"


def running() -> bool:
    """Whether a process kube-proxy runs on this host (k3s and others have it built in)."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8") as comm:
            if comm.read().strip() == _COMM:
                return True
    return False


def mode(rules: RuleSet, version: int, moved: Sequence[LegacyRule]) -> str:
    """Which of kube-proxy's modes has rules here; "" where none has.

    ``moved``: rules of iptables-legacy that counted the probe.
    """
    family = _family(version)
    if rules.has_table(family, TABLE):
        return NFTABLES
    if rules.chain(family, "nat", "KUBE-SERVICES") is not None:
        return IPTABLES
    return LEGACY if any(rule.chain.startswith("KUBE-") for rule in moved) else ""


def service(
    rules: RuleSet,
    asked: Request,
    unchecked: list[str],
    *,
    local: bool,
    steps: Iterable[Step],
    moved: Sequence[LegacyRule],
) -> Service:
    """What kube-proxy's rules say of a target, whichever mode they are of.

    ``steps`` and ``moved`` are the rules that the probe met: only the nftables mode can be asked
    by key. ``local``: the address is this host's, so NodePorts count. What cannot be read is noted
    in ``unchecked``.
    """
    version = asked.address.version
    try:
        used = mode(rules, version, moved)
        if used == NFTABLES:
            return look_up(rules, asked.address, asked.port, asked.protocol, local=local)
        if used == IPTABLES:
            return from_steps(rules, version, steps)
    except NetlinkError as error:
        unchecked.append(f"kube-proxy's rules: {error}")
        return Service()
    if used == LEGACY:
        return from_legacy(moved)
    return Service(running=running())


def look_up(
    rules: RuleSet, address: IPAddress, port: int, protocol: Protocol, *, local: bool
) -> Service:
    """The nftables mode's answer for a target; ``local``: NodePorts count as well."""
    family = _family(address.version)
    service = Service(mode=NFTABLES)
    key = concatenation(address.packed, bytes([protocol]), port.to_bytes(2, "big"))
    port_key = concatenation(bytes([protocol]), port.to_bytes(2, "big"))
    found = rules.element(family, TABLE, "service-ips", key)
    missing = rules.element(family, TABLE, "no-endpoint-services", key)
    kind = ""
    if local and found is None and missing is None:
        found = rules.element(family, TABLE, "service-nodeports", port_key)
        missing = rules.element(family, TABLE, "no-endpoint-nodeports", port_key)
        kind = "node_port"
    cluster_ip = rules.element(family, TABLE, "cluster-ips", address.packed) is not None
    service = replace(
        service,
        cluster_ip=cluster_ip,
        source_ranges=rules.element(family, TABLE, "firewall-ips", key) is not None,
        no_endpoints=_without_endpoints(missing),
    )
    chain = "" if found is None else found.jump
    named = names.from_chain(chain)
    if named is None and missing is not None:
        named = names.from_comment(missing.comment)
    if named is None:
        return service
    kind = kind or ("cluster_ip" if cluster_ip else "external")
    endpoints = _endpoints(rules, family, chain) if chain else ()
    return replace(service, name=named.name, port=named.port, kind=kind, endpoints=endpoints)


def from_steps(rules: RuleSet, version: int, steps: Iterable[Step]) -> Service:
    """The iptables-nft mode's answer, by the rules that the probe met."""
    service = Service(mode=IPTABLES)
    for step in steps:
        if not names.by_kube_proxy(step.table, step.chain):
            continue
        named = names.from_comment(step.comment)
        if named is not None and not service.name:
            service = replace(service, name=named.name, port=named.port)
        service = _learned(service, step.chain, step.comment, step.rejects)
        if step.jump.startswith("KUBE-FW-"):
            service = replace(service, source_ranges=True)
        if step.chain == "KUBE-NODEPORTS" and step.jump:
            service = replace(service, kind="node_port")
        if step.jump.startswith(("KUBE-SVC-", "KUBE-SVL-")) and not service.endpoints:
            ends = tuple(
                names.endpoint_of_comment(rule.comment)
                for rule in rules.rules(_family(version), "nat", step.jump)
            )
            service = replace(service, endpoints=tuple(filter(None, ends)))
    return service


def from_legacy(moved: Iterable[LegacyRule]) -> Service:
    """The iptables-legacy mode's answer, by the rules that counted the probe."""
    service = Service(mode=LEGACY)
    endpoints: dict[str, None] = {}
    for rule in moved:
        named = names.from_comment(rule.comment)
        if named is None or not rule.chain.startswith("KUBE-"):
            continue
        if not service.name:
            service = replace(service, name=named.name, port=named.port)
        service = _learned(service, rule.chain, rule.comment, rule.target == "REJECT")
        if end := names.endpoint_of_comment(rule.comment):
            endpoints[end] = None
        if rule.target.startswith("KUBE-FW-"):
            service = replace(service, source_ranges=True)
        if rule.chain == "KUBE-NODEPORTS":
            service = replace(service, kind="node_port")
    return replace(service, endpoints=tuple(endpoints))


def from_chain(
    rules: RuleSet, address: IPAddress, port: int, protocol: Protocol, *, local: bool
) -> Service:
    """The iptables-nft mode's answer without a probe: reads all of KUBE-SERVICES."""
    family = _family(address.version)
    found: list[LegacyRule] = []
    for table, chain in _SERVICE_CHAINS:
        if chain == "KUBE-NODEPORTS" and not local:
            continue
        for rule in rules.rules(family, table, chain):
            if not _is_for(rule.text, address, port, protocol, any_address=local):
                continue
            target = "REJECT" if rule.rejects else rule.jump or "DROP"
            found.append(LegacyRule(table, chain, rule.text, rule.comment, target, 0))
    for entry in tuple(found):
        if entry.target.startswith(("KUBE-EXT-", "KUBE-SVC-")):
            whole = "KUBE-SVC-" + entry.target[len("KUBE-SVC-") :]
            found += [
                LegacyRule("nat", whole, each.text, each.comment, each.jump, 0)
                for each in rules.rules(family, "nat", whole)
            ]
    return replace(from_legacy(found), mode=IPTABLES)


_SERVICE_CHAINS = (
    ("nat", "KUBE-SERVICES"),
    ("nat", "KUBE-NODEPORTS"),
    ("filter", "KUBE-SERVICES"),
    ("filter", "KUBE-EXTERNAL-SERVICES"),
)


def _is_for(
    text: str, address: IPAddress, port: int, protocol: Protocol, *, any_address: bool
) -> bool:
    """Whether a rule of iptables-nft, written as nft has it, matches this target."""
    if not re.search(rf"\bth dport {port}\b", text) or f"l4proto {protocol}" not in text:
        return False
    named = re.search(r"\bip6? daddr (\S+)", text)
    return any_address if named is None else named[1] == str(address)


def _learned(service: Service, chain: str, comment: str, rejects: bool) -> Service:
    """What a rule's comment says besides the name."""
    if comment.endswith(("has no endpoints", "has no local endpoints")):
        return replace(service, no_endpoints="reject" if rejects else "drop")
    if chain not in ("KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES"):
        return service  # a Service's own chain names its ClusterIP for every target
    for ending, kind in _KINDS.items():
        if comment.endswith(ending):
            cluster_ip = service.cluster_ip or kind == "cluster_ip"
            return replace(service, kind=kind, cluster_ip=cluster_ip)
    return service


def _without_endpoints(element: Element | None) -> str:
    if element is None:
        return ""
    return "drop" if element.verdict is uapi.Verdict.DROP else "reject"


def _endpoints(rules: RuleSet, family: int, chain: str) -> tuple[str, ...]:
    """All endpoints of the Service: those of its chain for policy Cluster."""
    whole = "service-" + chain.partition("-")[2]
    found: dict[str, None] = {}
    for rule in rules.rules(family, TABLE, whole):
        # Named sets of the chain are session affinity's: they hold clients.
        for name in (each for each in rule.sets if each.startswith("__")):
            for element in rules.elements(family, TABLE, name):
                if end := names.endpoint_of_chain(element.jump):
                    found[end] = None
    return tuple(sorted(found))


def _family(version: int) -> int:
    return uapi.NFPROTO_IPV4 if version == 4 else uapi.NFPROTO_IPV6
