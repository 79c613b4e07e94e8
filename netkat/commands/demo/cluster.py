"""A small Kubernetes cluster in network namespaces, with the rules that kube-proxy wrote.

::

    client 172.31.0.10 ── lb 172.31.0.1 / 172.30.0.1 (load balancer, the nodes' default gateway)
                           │ 172.30.0.0/24, one bridge
           node1 .11       node2 .12       node3 .13
                           pod 10.244.2.2 (or behind another node)

The load balancer address is on no interface: lb routes it to the node that it chose, and that
node's rules turn it into the pod's.
"""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import Any

from netkat.commands.demo import pod
from netkat.commands.demo.background_process import BackgroundProcess
from netkat.commands.demo.namespaces import Namespaces
from netkat.commands.demo.tools import call, inside, ip_batch

NODES = {"node1": "172.30.0.11", "node2": "172.30.0.12", "node3": "172.30.0.13"}
GATEWAY = "172.30.0.1"
CLIENT = "172.31.0.10"
SERVICE = "10.111.111.129"
SERVICE_PORTS = {"tcp": 80, "udp": 53}
POD, POD_GATEWAY, POD_SUBNET = "10.244.2.2", "10.244.2.1", "10.244.2.0/24"
MODES = ("iptables", "nftables")
POLICIES = ("Cluster", "Local")

# The rule files were written for this node's having the pod, and for this one's having none.
_RULES_WITH_POD, _RULES_WITHOUT_POD = "node2", "node1"

_SYSCTLS = {
    # Answers of the Service take another way back than the kernel would choose.
    "net/ipv4/conf/all/rp_filter": 0,
    "net/ipv4/conf/default/rp_filter": 0,
    # lb forwards out of the interface that a packet came in by, as a load balancer does.
    "net/ipv4/conf/all/send_redirects": 0,
    "net/ipv4/conf/default/send_redirects": 0,
    "net/ipv4/conf/all/log_martians": 0,
    "net/ipv4/ip_forward": 1,
    "net/ipv6/conf/all/disable_ipv6": 1,
    "net/ipv6/conf/default/disable_ipv6": 1,
}

# What reached the load balancer, told apart by source port. Priority raw: before any conntrack.
_ARRIVALS = f"""
table ip demo {{
    set arrivals {{ type ipv4_addr . inet_proto . inet_service; size 65535; flags dynamic; }}
    chain prerouting {{
        type filter hook prerouting priority raw; policy accept;
        ip daddr {SERVICE} update @arrivals {{ ip saddr . meta l4proto . th sport }}
    }}
}}
"""

Arrival = tuple[str, str, int]
"""Source address, "tcp" or "udp", source port."""


class Cluster:
    """The cluster. ``close()`` removes what ``build()`` created; idempotent."""

    def __init__(self, *, pod_node: str = "node2") -> None:
        self.pod_node = pod_node
        self.namespaces = Namespaces(["switch", "lb", "client", *NODES, "pod"])
        self._server: BackgroundProcess | None = None

    def build(self) -> None:
        """Make it, with the pod answering and no rules yet. Errors: DemoFailed."""
        names = self.namespaces
        names.create()
        for role in ("lb", "client", *NODES, "pod"):
            self._ip(role, "link set lo up")
            writes = (f"echo {value} > /proc/sys/{name}" for name, value in _SYSCTLS.items())
            call(self._in(role, "sh", "-c", "set -e; " + "; ".join(writes)))
        self._ip("switch", "link add br0 type bridge", "link set br0 up")
        self._plug_in("lb", GATEWAY)
        for node, address in NODES.items():
            self._plug_in(node, address)
            self._ip(node, f"route add default via {GATEWAY}")
        self._ip(
            "lb",
            f"link add ext0 type veth peer name eth0 netns {names['client']}",
            "addr add 172.31.0.1/24 dev ext0",
            "link set ext0 up",
        )
        self._ip(
            "client",
            f"addr add {CLIENT}/24 dev eth0",
            "link set eth0 up",
            "route add default via 172.31.0.1",
        )
        self._place_pod(self.pod_node)
        self._server = BackgroundProcess(self._in("pod", *pod.command("web")))
        call(self._in("lb", "nft", "-f", "-"), text=_ARRIVALS)

    def close(self) -> None:
        """Take down the pod and every namespace."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.namespaces.close()

    def load(self, mode: str, policy: str) -> None:
        """Give every node its rules of this kube-proxy mode and externalTrafficPolicy.

        Conntrack keeps what it saw under the rules before; probes use each source port once,
        so nothing of it meets them.
        """
        for node in NODES:
            written_for = _RULES_WITH_POD if node == self.pod_node else _RULES_WITHOUT_POD
            rules = _rules(mode, policy, written_for)
            if mode == "nftables":
                call(self._in(node, "nft", "-f", "-"), text="flush ruleset\n" + rules)
            else:
                call(self._in(node, "nft", "flush", "ruleset"))
                call(self._in(node, "iptables-nft-restore"), text=rules)

    def send_to(self, node: str) -> None:
        """Let the load balancer choose ``node``."""
        self._ip("lb", f"route replace {SERVICE}/32 via {NODES[node]}")

    def arrivals(self) -> set[Arrival]:
        """Every flow to the Service that has reached the load balancer so far."""
        listing = call(self._in("lb", "nft", "-j", "list", "set", "ip", "demo", "arrivals"))
        found = next(item["set"] for item in json.loads(listing)["nftables"] if "set" in item)
        flows = (_concatenation(element) for element in found.get("elem", []))
        return {(str(source), str(protocol), int(port)) for source, protocol, port in flows}

    def move_pod(self, node: str) -> None:
        """Put the pod behind ``node``. The rules follow with the next ``load``."""
        self._ip(self.pod_node, "link del pod0", f"route add {POD_SUBNET} via {NODES[node]}")
        self._place_pod(node)

    def _plug_in(self, role: str, address: str) -> None:
        port = f"to-{role}"
        self._ip(
            "switch",
            f"link add {port} type veth peer name eth0 netns {self.namespaces[role]}",
            f"link set {port} master br0 up",
        )
        self._ip(role, f"addr add {address}/24 dev eth0", "link set eth0 up")

    def _place_pod(self, node: str) -> None:
        for other in NODES.keys() - {node}:
            self._ip(other, f"route replace {POD_SUBNET} via {NODES[node]}")
        if node != self.pod_node:
            self._ip(node, f"route del {POD_SUBNET}")
        self._ip(
            node,
            f"link add pod0 type veth peer name eth0 netns {self.namespaces['pod']}",
            f"addr add {POD_GATEWAY}/24 dev pod0",
            "link set pod0 up",
        )
        self._ip(
            "pod",
            f"addr add {POD}/24 dev eth0",
            "link set eth0 up",
            f"route add default via {POD_GATEWAY}",
        )
        self.pod_node = node

    def _in(self, role: str, *argv: str) -> list[str]:
        return inside(self.namespaces[role], argv)

    def _ip(self, role: str, *lines: str) -> None:
        ip_batch(lines, namespace=self.namespaces[role])


def _rules(mode: str, policy: str, node: str) -> str:
    """One rule file, without iptables' match on an nfacct counter: it decides nothing."""
    text = (resources.files(__package__) / "rules" / f"{mode}-{policy}-{node}.txt").read_text()
    return re.sub(r" -m nfacct --nfacct-name +\S+", "", text)


def _concatenation(element: dict[str, Any]) -> list[Any]:
    # nft writes {"concat": …}, and {"elem": {"val": {"concat": …}, …}} for elements with more.
    plain = element["elem"]["val"] if "elem" in element else element
    values: list[Any] = plain["concat"]
    return values
