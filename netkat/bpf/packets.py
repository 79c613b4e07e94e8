"""The packet socket's filter over the guard's map: packets.c, and the entries that it alone reads.

A flow that comes or goes is an entry of the map, however many there are; the
classic filter (socket_filter.py) is assembled and attached anew for each.
"""

from __future__ import annotations

import errno
from collections import Counter
from typing import Final

from netkat.bpf.flow_key import KEY
from netkat.bpf.program import SOCKET_FILTER, Program
from netkat.bpf.shipped import LICENSE, instructions
from netkat.bpf.sys import HashMap
from netkat.errors import GuardFailed
from netkat.flow import Flow, IPAddress

NAME: Final = "netkat_packets"

_PEER, _HOP, _OURS = 1, 2, 3
"""``kind`` of struct flow_key (flows.h), as in packets.c."""
_UNUSED = bytes(8)


class Packets:
    """The program, and what it knows beside the flows themselves: those are the guard's to add.

    Errors of the constructor: OSError, VerifierRefused, KernelTooOld.
    """

    def __init__(self, flows: HashMap, *, ethernet: bool) -> None:
        name = "packets_ethernet" if ethernet else "packets_bare"
        self._flows, self._ethernet = flows, ethernet
        self._held: Counter[bytes] = Counter()
        self._program = Program(NAME, instructions(flows.fd, name), LICENSE, SOCKET_FILTER)

    @property
    def fd(self) -> int:
        """The program's descriptor, for SO_ATTACH_BPF."""
        return self._program.fd

    def add(self, flow: Flow, next_hop: IPAddress | None) -> None:
        """Know the flow's peer, its address and its next hop. Errors: GuardFailed."""
        for key in self._keys(flow, next_hop):
            self._held[key] += 1
            if self._held[key] == 1:
                try:
                    self._flows.insert(key, _UNUSED)
                except OSError as error:
                    what = "it is full" if error.errno == errno.E2BIG else error.strerror
                    raise GuardFailed(f"adding {flow} to the filter's map: {what}") from None

    def remove(self, flow: Flow, next_hop: IPAddress | None) -> None:
        """Forget what no other flow needs."""
        for key in self._keys(flow, next_hop):
            self._held[key] -= 1
            if not self._held[key]:
                del self._held[key]
                try:
                    self._flows.delete(key)
                except OSError as error:
                    if error.errno not in (errno.EPERM, errno.EBADF):
                        raise GuardFailed(
                            f"removing {flow} from the filter's map: {error.strerror}"
                        ) from None

    def close(self) -> None:
        """Let go of the program; a socket that it is attached to keeps it."""
        self._program.close()

    def _keys(self, flow: Flow, next_hop: IPAddress | None) -> list[bytes]:
        """The entries of a flow. A listener answers whoever comes, by whatever next hop."""
        version, local = flow.version, flow.local.packed
        remote = b"" if flow.remote is None else flow.remote.packed
        keys = [
            KEY.pack(local, b"", 0, 0, 0, version, _OURS),
            KEY.pack(local, remote, 0, 0, flow.protocol, version, _PEER),
        ]
        if not self._ethernet:
            return keys
        if flow.any_peer:
            keys.append(KEY.pack(b"", b"", 0, 0, 0, version, _HOP))
        elif next_hop is not None:
            keys.append(KEY.pack(b"", next_hop.packed, 0, 0, 0, next_hop.version, _HOP))
        return keys
