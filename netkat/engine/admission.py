"""Which packets an interface's wire takes in, and the guard keeps from the kernel, flow by flow."""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING

from netkat.bpf.flow_news import Teller
from netkat.bpf.ladder import Guard
from netkat.bpf.signature import signed
from netkat.bpf.socket_filter import flow_filter
from netkat.flow import Flow, IPAddress
from netkat.wire.packet_socket import PacketSocket

if TYPE_CHECKING:
    from netkat.bpf.packets import Packets

MANY = 4
"""Flows that came, after which the filter over the guard's map is worth its loading (two
milliseconds, as long as the classic filter takes for so many)."""


class Admission:
    """Keeps guard and filter in step and captures told.

    Errors of add(): as Guard.add, SetupError.
    """

    def __init__(self, wire: PacketSocket, guard: Guard, *, claimed: bool) -> None:
        self._wire, self._guard, self._claimed = wire, guard, claimed
        self._flows: dict[Flow, IPAddress | None] = {}
        self._lock = threading.Lock()
        self._packets: Packets | None = None
        self._came = 0
        self._teller = Teller()

    def add(self, flow: Flow, next_hop: IPAddress | None) -> None:
        """Let the flow in here and keep it from the kernel, before anything of it is sent."""
        with self._lock:
            self._guard.add(flow)
            self._flows[flow] = next_hop
            self._came += 1
            try:
                if self._packets is not None:
                    self._packets.add(flow, next_hop)
                elif self._came != MANY or self._claimed or not self._look_up():
                    self._assemble()
            except BaseException:
                del self._flows[flow]
                self._guard.remove(flow)
                raise
            self._teller.begins(flow)

    def remove(self, flow: Flow) -> None:
        """Give the flow back to the kernel; once more is no error."""
        with self._lock:
            if flow not in self._flows:
                return
            next_hop = self._flows.pop(flow)
            self._teller.ends(flow)
            if self._packets is not None:
                self._packets.remove(flow, next_hop)
            else:
                self._assemble()
            self._guard.remove(flow)

    def close(self) -> None:
        """Let go of the filter's program; wire and guard are their owners' to close.

        Nothing is sent any more.
        """
        self._teller.close()
        if self._packets is not None:
            self._packets.close()

    def _assemble(self) -> None:
        self._wire.set_filter(
            signed(
                flow_filter(
                    self._flows,
                    self._next_hops(),
                    ethernet=self._wire.ethernet,
                    claimed=self._claimed,
                ),
                self._flows,
            )
        )

    def _look_up(self) -> bool:
        """From here on flows are looked up in the guard's map; False where it has none."""
        packets = self._guard.packets()
        if packets is None:
            return False
        try:
            for flow, next_hop in self._flows.items():
                packets.add(flow, next_hop)
            self._wire.set_program(packets.fd)
        except OSError as error:
            packets.close()
            if error.errno != errno.EPERM:
                raise
            return False
        self._packets = packets
        return True

    def _next_hops(self) -> set[IPAddress] | None:
        """Who may tell us a MAC; None for anybody, since who knocks is not known beforehand."""
        if any(flow.any_peer for flow in self._flows):
            return None
        return {hop for hop in self._flows.values() if hop is not None}
