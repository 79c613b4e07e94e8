"""The packet socket's filter where eBPF cannot be used."""

from __future__ import annotations

from netkat.bpf.filters.classic_filter import classic_filter
from netkat.bpf.filters.embedded_flows import embed
from netkat.flow import Flow, IPAddress
from netkat.wire.packet_socket import PacketSocket


class ClassicSocketFilter:
    """The classic filter, assembled and attached again for each change.

    The flows are written behind it for captures in other processes (embedded_flows.py).
    """

    def __init__(self, wire: PacketSocket) -> None:
        self._wire = wire
        self._flows: dict[Flow, IPAddress | None] = {}

    def add(self, flow: Flow, next_hop: IPAddress | None) -> None:
        self._attach({**self._flows, flow: next_hop})

    def update(self, flow: Flow, before: IPAddress | None, next_hop: IPAddress | None) -> None:
        del before
        self.add(flow, next_hop)

    def remove(self, flow: Flow, next_hop: IPAddress | None) -> None:
        del next_hop
        self._attach({other: hop for other, hop in self._flows.items() if other != flow})

    def close(self) -> None:
        """The socket owns the program."""

    def _attach(self, flows: dict[Flow, IPAddress | None]) -> None:
        wire = self._wire
        program = classic_filter(flows, ethernet=wire.ethernet, promiscuous=wire.promiscuous)
        wire.set_filter(embed(program, flows))
        self._flows = flows
