"""One question to the Service: from where, by which path, and what came back.

A probe is a process (nc, or netkat) inside a namespace. It sends one line; the pod answers
with the address that it saw. Each probe has its own source port, which shows on the load
balancer whether its packets arrived.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import netkat
from netkat.commands.demo.cluster import CLIENT, NODES, SERVICE, SERVICE_PORTS, Arrival, Cluster
from netkat.commands.demo.processes import Finished, run_all
from netkat.commands.demo.tools import inside

WAIT_SECONDS = 1
REQUEST = b"who am I?\n"

# Below the kernel's ephemeral range, so no other socket of the cluster comes across them.
_source_ports = itertools.count(20001)

_ANSWER = re.compile(r"pod=(\S+) peer=(\S+):[0-9]+\n")

# In the order in which they are looked for in the tool's own words on stderr.
_WORDS = {
    "hairpin": "hairpin",
    "refused": "refused",
    "unreachable": "unreachable",
    "no route to host": "unreachable",
    "timed out": "no answer",
    "no answer": "no answer",
    "no reply": "no answer",
}


@dataclass(frozen=True)
class Probe:
    """``source_node`` is a namespace; ``path`` "kernel" (nc) or "netkat"; ``via`` a node."""

    source_node: str
    path: str
    protocol: str = "tcp"
    via: str | None = None

    @property
    def address(self) -> str:
        """The address of the source node."""
        return CLIENT if self.source_node == "client" else NODES[self.source_node]


@dataclass(frozen=True)
class ProbeResult:
    """What one probe got.

    ``kind`` is "answer", "no answer", "hairpin", "refused", "unreachable" or "error" (the tool
    did not come to the network). ``source`` is the address that the pod saw, where it answered;
    ``reached``: the load balancer saw the probe; ``words`` are the tool's own.
    """

    probe: Probe
    kind: str
    source: str | None
    reached: bool
    words: str

    @property
    def answered(self) -> bool:
        """The pod answered."""
        return self.kind == "answer"

    @property
    def captured(self) -> bool:
        """An answer that never came by the load balancer, nor by a next hop chosen for it."""
        return self.answered and not self.reached and self.probe.via is None

    @property
    def preserved(self) -> bool:
        """The pod saw the address of the source node."""
        return self.source == self.probe.address


def nc_command(probe: Probe, port: int) -> list[str]:
    """The kernel's path: nc, from ``port``."""
    # -v has nc say why it failed; on UDP it would send test datagrams of its own.
    how = ["-u"] if probe.protocol == "udp" else ["-v"]
    return ["nc", "-n", *how, "-w", str(WAIT_SECONDS), "-p", str(port), *_destination(probe)]


def netkat_command(probe: Probe, port: int) -> list[str]:
    """Past the rules: this netkat, from ``port``."""
    how = ["-u"] if probe.protocol == "udp" else []
    if probe.via is not None:
        how += ["--via", NODES[probe.via]]
    wait = ["-w", str(WAIT_SECONDS), "-p", str(port)]
    return [sys.executable, "-m", "netkat", *how, *wait, *_destination(probe)]


CommandBuilder = Callable[[Probe, int], Sequence[str]]
COMMANDS: dict[str, CommandBuilder] = {"kernel": nc_command, "netkat": netkat_command}


def ask(cluster: Cluster, probes: Sequence[Probe]) -> list[ProbeResult]:
    """Run all probes at once; their outcomes in the same order."""
    ports = [next(_source_ports) for _ in probes]
    commands = [
        inside(cluster.namespaces[probe.source_node], COMMANDS[probe.path](probe, port))
        for probe, port in zip(probes, ports, strict=True)
    ]
    ended = run_all(
        commands,
        request=REQUEST,
        # "-m netkat" looks in the working directory first: be sure to find this netkat.
        directory=Path(netkat.__file__).parent.parent,
        # A UDP client waits on after the answer; we have what we came for.
        enough=lambda output: b"\n" in output,
        seconds=WAIT_SECONDS + 4,
    )
    arrivals = cluster.arrivals()
    return [
        _judge(probe, port, end, arrivals)
        for probe, port, end in zip(probes, ports, ended, strict=True)
    ]


def _destination(probe: Probe) -> list[str]:
    return [SERVICE, str(SERVICE_PORTS[probe.protocol])]


def _judge(probe: Probe, port: int, ended: Finished, arrivals: set[Arrival]) -> ProbeResult:
    reached = (probe.address, probe.protocol, port) in arrivals
    words = _telling_line(ended.errors.decode(errors="replace"))
    if answer := _ANSWER.fullmatch(ended.output.decode(errors="replace")):
        return ProbeResult(probe, "answer", answer[2], reached, words)
    return ProbeResult(probe, _kind(probe, ended, words), None, reached, words)


def _telling_line(said: str) -> str:
    """Of all that a tool wrote on stderr: netkat's own line, else the last."""
    lines = said.strip().splitlines() or [""]
    return next((line for line in lines if line.startswith("netkat: ")), lines[-1])


def _kind(probe: Probe, ended: Finished, words: str) -> str:
    if ended.output:
        return "error"  # something answered, and it was not the pod
    # A datagram that nobody answered is no fault to a netcat; nc's exit status says nothing.
    datagram_went = probe.protocol == "udp" and (probe.path == "kernel" or ended.status == 0)
    if datagram_went and not words:
        return "no answer"
    # netkat's exit status is 1 when the network said no, 2 when it never came to the network;
    # Python's is 1 as well when it breaks.
    asked = datagram_went or (ended.status == 1 and words.startswith("netkat: "))
    if probe.path == "netkat" and not asked:
        return "error"
    return next((kind for word, kind in _WORDS.items() if word in words.lower()), "error")
