"""The demo's questions: every mode and policy, both choices of the load balancer, every asker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from netkat.commands.demo.cluster import MODES, POLICIES, Cluster
from netkat.commands.demo.probes import Outcome, Probe, ask

# 53/udp goes the same ways; asking for it too takes twice the time for the same table.
PROTOCOLS = ("tcp", "udp")
CHOICES = ("node1", "node2")
CLIENT_SEAT = ("client", "kernel")
SEATS = (
    CLIENT_SEAT,
    ("node1", "kernel"),
    ("node3", "kernel"),
    ("node1", "netkat"),
    ("node3", "netkat"),
)
VIA_ASKER = "node3"


@dataclass(frozen=True)
class Row:
    """One choice of the load balancer and one protocol: the outcomes in the order of SEATS.

    ``via`` is what netkat got with that node as its next hop, past the load balancer.
    """

    choice: str
    protocol: str
    outcomes: tuple[Outcome, ...]
    via: Outcome

    @property
    def client(self) -> Outcome:
        """What the client outside got: the measure of the others."""
        return self.outcomes[SEATS.index(CLIENT_SEAT)]

    def wrong(self, outcome: Outcome) -> bool:
        """Does it say another thing about the Service than the external client saw?

        A hairpin says nothing about it, and an error is no answer to any question.
        """
        if outcome.kind in ("hairpin", "error"):
            return False
        return outcome.answered != self.client.answered


@dataclass(frozen=True)
class Block:
    """One kube-proxy mode and one externalTrafficPolicy."""

    mode: str
    policy: str
    rows: tuple[Row, ...]


def measure(
    cluster: Cluster,
    *,
    modes: Sequence[str] = MODES,
    policies: Sequence[str] = POLICIES,
    choices: Sequence[str] = CHOICES,
    protocols: Sequence[str] = PROTOCOLS,
) -> Iterator[Block]:
    """Measure block after block; nothing is remembered from one to the next."""
    for mode in modes:
        for policy in policies:
            cluster.load(mode, policy)
            rows = [row for choice in choices for row in _rows(cluster, choice, protocols)]
            yield Block(mode, policy, tuple(rows))


def _rows(cluster: Cluster, choice: str, protocols: Sequence[str]) -> list[Row]:
    cluster.send_to(choice)
    probes = [
        probe
        for protocol in protocols
        for probe in (
            *(Probe(asker, path, protocol) for asker, path in SEATS),
            Probe(VIA_ASKER, "netkat", protocol, via=choice),
        )
    ]
    outcomes = iter(ask(cluster, probes))
    return [
        Row(choice, protocol, tuple(next(outcomes) for _ in SEATS), via=next(outcomes))
        for protocol in protocols
    ]
