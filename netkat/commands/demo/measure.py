"""The demo's questions: every mode and policy, both choices of the load balancer, every source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from netkat.commands.demo.cluster import MODES, POLICIES, Cluster
from netkat.commands.demo.probes import Probe, ProbeResult, ask

# 53/udp goes the same ways; asking for it too takes twice the time for the same table.
PROTOCOLS = ("tcp", "udp")
LB_BACKENDS = ("node1", "node2")
CLIENT_POINT = ("client", "kernel")
VANTAGE_POINTS = (
    CLIENT_POINT,
    ("node1", "kernel"),
    ("node3", "kernel"),
    ("node1", "netkat"),
    ("node3", "netkat"),
)
VIA_SOURCE = "node3"


@dataclass(frozen=True)
class Row:
    """One choice of the load balancer and one protocol: outcomes as in VANTAGE_POINTS.

    ``via`` is what netkat got with that node as its next hop, past the load balancer.
    """

    choice: str
    protocol: str
    outcomes: tuple[ProbeResult, ...]
    via: ProbeResult

    @property
    def client(self) -> ProbeResult:
        """What the client outside got: the measure of the others."""
        return self.outcomes[VANTAGE_POINTS.index(CLIENT_POINT)]

    def wrong(self, outcome: ProbeResult) -> bool:
        """Return whether the result differs from what the external client saw.

        A hairpin or an error is no result for the Service.
        """
        if outcome.kind in ("hairpin", "error"):
            return False
        return outcome.answered != self.client.answered


@dataclass(frozen=True)
class ResultBlock:
    """One kube-proxy mode and one externalTrafficPolicy."""

    mode: str
    policy: str
    rows: tuple[Row, ...]


def measure(
    cluster: Cluster,
    *,
    modes: Sequence[str] = MODES,
    policies: Sequence[str] = POLICIES,
    choices: Sequence[str] = LB_BACKENDS,
    protocols: Sequence[str] = PROTOCOLS,
) -> Iterator[ResultBlock]:
    """Measure block after block; nothing is remembered from one to the next."""
    for mode in modes:
        for policy in policies:
            cluster.load(mode, policy)
            rows = [row for choice in choices for row in _rows(cluster, choice, protocols)]
            yield ResultBlock(mode, policy, tuple(rows))


def _rows(cluster: Cluster, choice: str, protocols: Sequence[str]) -> list[Row]:
    cluster.send_to(choice)
    probes = [
        probe
        for protocol in protocols
        for probe in (
            *(Probe(source_node, path, protocol) for source_node, path in VANTAGE_POINTS),
            Probe(VIA_SOURCE, "netkat", protocol, via=choice),
        )
    ]
    outcomes = iter(ask(cluster, probes))
    return [
        Row(choice, protocol, tuple(next(outcomes) for _ in VANTAGE_POINTS), via=next(outcomes))
        for protocol in protocols
    ]
