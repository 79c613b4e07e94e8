"""--read-only: what look-ups alone say. Nothing is written and no packet is sent."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from ipaddress import ip_address

from netkat.diagnose.why import conntrack, host_facts, kube_proxy, legacy
from netkat.diagnose.why.evidence import Connection, Evidence, Service, Target
from netkat.diagnose.why.nft.lookup import RuleSet
from netkat.diagnose.why.observers import connection_of
from netkat.diagnose.why.request import Request
from netkat.netlink import NetlinkError

_CLIENTS = {4: "203.0.113.7", 6: "2001:db8::7"}


def collect(request: Request) -> Evidence:
    """The evidence of look-ups. Errors: SetupError, OSError."""
    return request.call(partial(_collect, request))


def _collect(request: Request) -> Evidence:
    target = Target(request.host, str(request.address), request.port, str(request.protocol))
    host = host_facts.towards(request.address, request.protocol, request.port, request.interface)
    client, kind = request.claim or host.source, "node address"
    if request.incoming:
        client = str(request.client or ip_address(_CLIENTS[request.address.version]))
        kind = "external client"
    evidence = Evidence(target, client, kind, incoming=request.incoming, host=host, read_only=True)
    with RuleSet() as rules:
        try:
            service = _service(request, rules, local=host.local)
        except (NetlinkError, OSError, ValueError) as error:
            return replace(evidence, unchecked=(f"kube-proxy's rules: {error}",))
    return replace(evidence, service=service, stale=_stale(request, service))


def _service(request: Request, rules: RuleSet, *, local: bool) -> Service:
    asked = request
    version = asked.address.version
    mode = kube_proxy.mode(rules, version, ())
    if mode == kube_proxy.NFTABLES:
        return kube_proxy.look_up(rules, asked.address, asked.port, asked.protocol, local=local)
    if mode == kube_proxy.IPTABLES:
        return kube_proxy.from_chain(rules, asked.address, asked.port, asked.protocol, local=local)
    if "nat" in legacy.tables(version):
        saved = legacy.about(version, asked.address, asked.port, str(asked.protocol), local=local)
        if saved is not None:
            return kube_proxy.from_legacy(saved)
    return Service(running=kube_proxy.running())


def _stale(request: Request, service: Service) -> tuple[Connection, ...]:
    if not service.endpoints:
        return ()
    with suppress(NetlinkError):
        entries = conntrack.entries_to(request.protocol, request.address, request.port)
        found = [connection_of(entry) for entry in entries if entry.destination_translated]
        return tuple(one for one in found if one.reply_source not in service.endpoints)
    return ()
