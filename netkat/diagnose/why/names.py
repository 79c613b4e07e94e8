"""From kube-proxy's chain names and comments to the names that an operator knows."""

from __future__ import annotations

import re
from typing import NamedTuple

from netkat.diagnose.why.evidence import Step, endpoint

_CHAIN = re.compile(
    r"(?P<kind>service|external|local|firewall|endpoint)-[A-Z0-9]{8}-"
    r"(?P<namespace>[^/]+)/(?P<name>[^/]+)/(?P<protocol>tcp|udp|sctp)/(?P<port>.*?)"
    r"(?:__(?P<address>[^/]+)/(?P<number>[0-9]+))?"
)
"""kube-proxy's nftables mode. IPv6 endpoints have dots in the place of colons."""
_COMMENT = re.compile(
    r"(?:^|\s)(?P<name>[a-z0-9][a-z0-9.-]*/[a-z0-9][a-z0-9.-]*)(?::(?P<port>[a-z0-9-]*))?(?:\s|$)"
)
_ENDPOINT = re.compile(r" -> (?P<end>\S+)$")
_HASH = re.compile(r"^((?:service|external|local|firewall|endpoint)-)[A-Z0-9]{8}-")


class ServiceName(NamedTuple):
    """``name`` is NAMESPACE/NAME, ``port`` the port's name ("" where it has none)."""

    name: str
    port: str

    def __str__(self) -> str:
        return f"Service {self.name}" + (f", port {self.port}" if self.port else "")


def from_chain(chain: str) -> ServiceName | None:
    """The Service of a chain of the nftables mode."""
    found = _CHAIN.fullmatch(chain)
    if found is None:
        return None
    return ServiceName(f"{found['namespace']}/{found['name']}", found["port"])


def from_comment(comment: str) -> ServiceName | None:
    """The Service in a comment such as "default/web:http loadbalancer IP"."""
    found = _COMMENT.search(comment)
    return None if found is None else ServiceName(found["name"], found["port"] or "")


def endpoint_of_chain(chain: str) -> str:
    """ADDRESS:PORT of an endpoint chain of the nftables mode; "" for any other."""
    found = _CHAIN.fullmatch(chain)
    if found is None or not found["address"]:
        return ""
    address = found["address"]
    if not re.fullmatch(r"[0-9]+(?:\.[0-9]+){3}", address):
        address = address.replace(".", ":")
    return endpoint(address, int(found["number"]))


def endpoint_of_comment(comment: str) -> str:
    """ADDRESS:PORT at the end of "default/web:http -> 10.244.2.2:8080"; "" without one."""
    found = _ENDPOINT.search(comment)
    return "" if found is None else found["end"]


def by_kube_proxy(table: str, chain: str) -> bool:
    """Whether kube-proxy wrote the chain."""
    return table.partition(" ")[2] == "kube-proxy" or chain.startswith("KUBE-")


def service_of(step: Step) -> ServiceName | None:
    """The Service that a step is about."""
    if not by_kube_proxy(step.table, step.chain):
        return None
    found = from_chain(step.jump) or from_chain(step.chain) or from_comment(step.comment)
    return found if found is not None else None


def short(chain: str) -> str:
    """The chain's name with its hash left out."""
    return _HASH.sub(r"\1…-", chain)
