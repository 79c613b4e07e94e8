"""A demo cluster for netkat why, with kube-proxy's rules by any of its three back ends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from netkat.commands.demo.cluster import NODES, SERVICE, Cluster, _rules
from netkat.commands.demo.tools import call, inside
from netkat.diagnose.why.api import why
from netkat.diagnose.why.evidence import from_json
from netkat.diagnose.why.result import WhyResult
from netkat.diagnose.why.verdict import conclude
from tests.helpers.netns import ROOT, Namespace

MODES = ("nftables", "iptables-nft", "iptables-legacy")
RECORDED = ROOT / "tests/recorded/why"
_RECORD = "NETKAT_RECORD_WHY"
"""Set to anything, the tests write their evidence to tests/recorded/why."""


class WhyCluster(Cluster):
    """The demo's cluster, whose rules iptables-legacy can hold as well."""

    def node(self, role: str) -> Namespace:
        """A namespace of the cluster by its role."""
        return Namespace(self.namespaces[role])

    def load_mode(self, mode: str, policy: str) -> None:
        """kube-proxy's rules on every node, by one back end."""
        self.clear()
        if mode == "nftables":
            self.load("nftables", policy)
        elif mode == "iptables-nft":
            self.load("iptables", policy)
        else:
            for node in NODES:
                written_for = "node2" if node == self.pod_node else "node1"
                rules = _rules("iptables", policy, written_for)
                call(inside(self.namespaces[node], ["iptables-legacy-restore"]), text=rules)

    def clear(self) -> None:
        """No rules and no conntrack entries on any node."""
        for node in NODES:
            space = self.node(node)
            space.run(["nft", "flush", "ruleset"])
            for table in space.run(
                ["cat", "/proc/net/ip_tables_names"], check=False
            ).stdout.split():
                for words in (["-F"], ["-X"]):
                    space.run(["iptables-legacy", "-t", table, *words])
            space.run(["conntrack", "-F"])
        self.node("pod").run(["nft", "flush", "ruleset"])

    def without_endpoints(self, node: str, mode: str, cluster_ip: str) -> None:
        """One more Service, default/empty, that has no endpoints; as kube-proxy writes it."""
        self._add(
            node,
            mode,
            f"add element ip kube-proxy no-endpoint-services {{ {cluster_ip} . tcp . 80"
            ' comment "default/empty:http" : goto reject-chain }\n'
            f"add element ip kube-proxy cluster-ips {{ {cluster_ip} }}",
            f"*filter\n-A KUBE-SERVICES -d {cluster_ip}/32 -p tcp -m comment --comment"
            ' "default/empty:http has no endpoints" -m tcp --dport 80 -j REJECT\nCOMMIT\n',
        )

    def limit_sources(self, node: str, mode: str, network: str) -> None:
        """loadBalancerSourceRanges for default/web, port http; as kube-proxy writes it."""
        chain = "firewall-SUSTUHLJ-default/web/tcp/http"
        to = f"-d {SERVICE}/32 -p tcp -m comment --comment"
        self._add(
            node,
            mode,
            f"table ip kube-proxy {{\nchain {chain} {{\nip saddr != {network} drop\n}}\n}}\n"
            f"add element ip kube-proxy firewall-ips {{ {SERVICE} . tcp . 80"
            f' comment "default/web:http" : goto {chain} }}',
            "*nat\n:KUBE-FW-CDGGSHYLG3RE2FKL - [0:0]\n"
            f'-I KUBE-SERVICES {to} "default/web:http loadbalancer IP" -m tcp --dport 80'
            " -j KUBE-FW-CDGGSHYLG3RE2FKL\n"
            f"-I KUBE-SERVICES 2 -d {SERVICE}/32 -p tcp -m tcp --dport 80 -j RETURN\n"
            f"-A KUBE-FW-CDGGSHYLG3RE2FKL -s {network} -m comment --comment"
            ' "default/web:http loadbalancer IP" -j KUBE-EXT-CDGGSHYLG3RE2FKL\nCOMMIT\n'
            f'*filter\n-A KUBE-PROXY-FIREWALL {to} "default/web:http traffic not accepted by'
            ' KUBE-FW-CDGGSHYLG3RE2FKL" -m tcp --dport 80 -j DROP\nCOMMIT\n',
        )

    def _add(self, node: str, mode: str, nft: str, iptables: str) -> None:
        space = self.node(node)
        if mode == "nftables":
            space.run(["nft", "-f", "-"], input=nft)
        else:
            space.run([f"{mode}-restore", "--noflush"], input=iptables)


def examined(space: Namespace, host: str, port: int, **options: Any) -> WhyResult:
    """netkat.why in a namespace; its evidence survives JSON, and alone decides."""
    options.setdefault("timeout", 0.6)
    options.setdefault("netns", space.name)
    result = why(host, port, **options)
    written = result.evidence.to_json()
    assert from_json(written) == result.evidence
    assert conclude(from_json(written)) == result.findings
    if os.environ.get(_RECORD):
        name = os.environ["PYTEST_CURRENT_TEST"].split("::")[-1].split(" ")[0]
        record(name.removeprefix("test_"), written, result.verdict)
    return result


def record(name: str, evidence: str, verdict: str) -> Path:
    """Write evidence to where tests/unit reads it."""
    import json
    import re

    path = RECORDED / f"{re.sub(r'[^a-z0-9_]+', '-', name.lower()).strip('-')}.json"
    found = {"verdict": verdict, "evidence": json.loads(evidence)}
    path.write_text(json.dumps(found, separators=(",", ":"), sort_keys=True) + "\n")
    return path
