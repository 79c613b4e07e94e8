"""The packet socket's filter as eBPF (socket_filter.c): it looks packets up in the guard's map."""

from __future__ import annotations

from collections import Counter
from typing import Final

from netkat.bpf.filters.flow_key import fragments_key, local_key, next_hop_key
from netkat.bpf.filters.flow_map import FlowMap
from netkat.bpf.prebuilt import LICENSE, instructions
from netkat.bpf.program import SOCKET_FILTER, LoadedProgram
from netkat.flow import Flow, IPAddress

NAME: Final = "netkat_filter"


class EbpfFilter:
    """The program and the entries that it needs beside the flows; the guard adds those.

    Errors of the constructor: OSError, VerifierRefused, KernelTooOld.
    """

    def __init__(self, flows: FlowMap, *, ethernet: bool) -> None:
        self._flows, self._ethernet = flows, ethernet
        self._users: Counter[bytes] = Counter()
        code = instructions("socket_filter", flows.fd, ethernet=ethernet)
        self._program = LoadedProgram(NAME, code, LICENSE, SOCKET_FILTER)
        self.close = self._program.close

    @property
    def fd(self) -> int:
        """The program's descriptor, for SO_ATTACH_BPF."""
        return self._program.fd

    def add(self, flow: Flow, next_hop: IPAddress | None) -> None:
        """Accept the flow's fragments, and ARP or neighbour discovery for its address and next hop.

        Errors: GuardFailed, MissingCapability.
        """
        added = []
        try:
            for key in self._keys(flow, next_hop):
                if not self._users[key]:
                    self._flows.add(key, flow)
                self._users[key] += 1
                added.append(key)
        except BaseException:
            self._release(added, flow)
            raise

    def update(self, flow: Flow, before: IPAddress | None, next_hop: IPAddress | None) -> None:
        """Change a flow's next hop. Errors: as add()."""
        self.add(flow, next_hop)
        self.remove(flow, before)

    def remove(self, flow: Flow, next_hop: IPAddress | None) -> None:
        """Remove the entries that no other flow uses. Errors: GuardFailed."""
        self._release(self._keys(flow, next_hop), flow)

    def _release(self, keys: list[bytes], flow: Flow) -> None:
        for key in keys:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key]
                self._flows.remove(key, flow)

    def _keys(self, flow: Flow, next_hop: IPAddress | None) -> list[bytes]:
        keys = [local_key(flow.local), fragments_key(flow)]
        if self._ethernet:
            if flow.any_peer:
                keys.append(next_hop_key(flow.version, None))
            elif next_hop is not None:
                keys.append(next_hop_key(next_hop.version, next_hop))
        return keys
