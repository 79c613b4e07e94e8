"""Thousands of Services in the form in which kube-proxy writes them: nftables and iptables."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from ipaddress import IPv4Address

ENDPOINTS = 3
FIRST_SERVICE, FIRST_POD = IPv4Address("10.100.0.0"), IPv4Address("10.200.0.0")


def service_address(number: int) -> str:
    """The ClusterIP of a Service."""
    return str(FIRST_SERVICE + number)


def pod_addresses(number: int) -> list[str]:
    """The pods of a Service."""
    return [str(FIRST_POD + ENDPOINTS * number + each) for each in range(ENDPOINTS)]


def nftables(count: int) -> str:
    """One table ip kube-proxy with so many Services, each with three endpoints."""
    lines = [_NFT_HEAD]
    chains, elements = [], []
    for number in range(count):
        name = f"shop/web{number}/tcp/http"
        mark = _mark(name)
        service = f"service-{mark}-{name}"
        ends = []
        for pod in pod_addresses(number):
            endpoint = f"endpoint-{_mark(name + pod)}-{name}__{pod}/8080"
            ends.append(endpoint)
            chains.append(
                f"chain {endpoint} {{\nip saddr {pod} jump mark-for-masquerade\n"
                f"meta l4proto tcp dnat to {pod}:8080\n}}"
            )
        choices = ", ".join(f"{place} : goto {end}" for place, end in enumerate(ends))
        chains.append(
            f"chain {service} {{\nip daddr {service_address(number)} ip saddr != 10.244.0.0/16"
            " jump mark-for-masquerade\n"
            f"numgen random mod {ENDPOINTS} vmap {{ {choices} }}\n}}"
        )
        elements.append(f"{service_address(number)} . tcp . 80 : goto {service}")
    lines += chains
    lines.append(_NFT_TAIL.format(elements=",\n".join(elements)))
    return "\n".join(lines)


def iptables(count: int) -> str:
    """The nat table of kube-proxy's iptables mode with so many Services."""
    return "\n".join(_iptables(count)) + "\n"


def _iptables(count: int) -> Iterator[str]:
    yield "*nat"
    for chain in ("SERVICES", "NODEPORTS", "POSTROUTING", "MARK-MASQ"):
        yield f":KUBE-{chain} - [0:0]"
    rules = []
    for number in range(count):
        name, mark = f"shop/web{number}:http", _mark(f"web{number}").ljust(16, "A")
        service = f"KUBE-SVC-{mark}"
        yield f":{service} - [0:0]"
        rules.append(
            f"-A KUBE-SERVICES -d {service_address(number)}/32 -p tcp -m comment --comment"
            f' "{name} cluster IP" -m tcp --dport 80 -j {service}'
        )
        for pod in pod_addresses(number):
            endpoint = f"KUBE-SEP-{_mark(pod).ljust(16, 'B')}"
            yield f":{endpoint} - [0:0]"
            rules.append(f'-A {service} -m comment --comment "{name} -> {pod}:8080" -j {endpoint}')
            rules.append(
                f'-A {endpoint} -p tcp -m comment --comment "{name}" -m tcp -j DNAT'
                f" --to-destination {pod}:8080"
            )
    yield '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES'
    yield '-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES'
    yield from rules
    yield "COMMIT"


def _mark(text: str) -> str:
    """Eight letters, as kube-proxy's hashes have them."""
    digest = hashlib.sha256(text.encode()).digest()
    return "".join(chr(ord("A") + byte % 26) for byte in digest[:8])


_NFT_HEAD = """\
table ip kube-proxy {
set cluster-ips { type ipv4_addr; }
map no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict; }
map no-endpoint-nodeports { type inet_proto . inet_service : verdict; }
map firewall-ips { type ipv4_addr . inet_proto . inet_service : verdict; }
map service-nodeports { type inet_proto . inet_service : verdict; }
chain mark-for-masquerade {
meta mark set meta mark | 0x00004000
}"""
_NFT_TAIL = """\
map service-ips {{ type ipv4_addr . inet_proto . inet_service : verdict
elements = {{ {elements} }}
}}
chain services {{
ip daddr . meta l4proto . th dport vmap @service-ips
}}
chain nat-output {{
type nat hook output priority -100; policy accept;
jump services
}}
}}"""
