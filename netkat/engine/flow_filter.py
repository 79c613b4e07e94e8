"""Which packets an interface's packet socket receives and its guard drops, flow by flow."""

from __future__ import annotations

import threading
from typing import Protocol

from netkat.bpf.flow_events import FlowAnnouncer
from netkat.bpf.guard.select_mode import Guard
from netkat.flow import Flow, IPAddress
from netkat.wire.packet_socket import PacketSocket


class Admission:
    """Adds flows to the guard, to the packet socket's filter and to what captures know.

    The filter is the eBPF one where the guard is eBPF, else the classic one. Made while the
    capabilities are held. Errors of the constructor: any SetupError.
    """

    def __init__(self, wire: PacketSocket, guard: Guard) -> None:
        self._guard = guard
        self._next_hops: dict[Flow, IPAddress | None] = {}
        self._lock = threading.Lock()
        self._filter = _attached(wire, guard)
        self._announcer = FlowAnnouncer()

    def add(self, flow: Flow, next_hop: IPAddress | None) -> None:
        """Receive the flow here and drop it for the kernel, before its first packet is sent.

        Errors: GuardFailed, SetupError.
        """
        with self._lock:
            self._guard.add(flow)
            try:
                self._filter.add(flow, next_hop)
            except BaseException:
                self._guard.remove(flow)
                raise
            self._next_hops[flow] = next_hop
            self._announcer.announce(flow)

    def update(self, flow: Flow, next_hop: IPAddress | None) -> None:
        """Change the next hop of a flow that was added. Errors: as add()."""
        with self._lock:
            before = self._next_hops.get(flow, next_hop)
            if before != next_hop:
                self._filter.update(flow, before, next_hop)
                self._next_hops[flow] = next_hop

    def remove(self, flow: Flow) -> None:
        """Leave the flow to the kernel again. Idempotent."""
        with self._lock:
            if flow not in self._next_hops:
                return
            self._announcer.withdraw(flow)
            self._filter.remove(flow, self._next_hops.pop(flow))
            self._guard.remove(flow)

    def close(self) -> None:
        """Close the filter's program; wire and guard are closed by their owners.

        Nothing is sent any more.
        """
        self._announcer.close()
        self._filter.close()


class _SocketFilter(Protocol):
    """What EbpfFilter and ClassicSocketFilter have in common."""

    def add(self, flow: Flow, next_hop: IPAddress | None, /) -> None: ...

    def update(
        self, flow: Flow, before: IPAddress | None, next_hop: IPAddress | None, /
    ) -> None: ...

    def remove(self, flow: Flow, next_hop: IPAddress | None, /) -> None: ...

    def close(self) -> None: ...


def _attached(wire: PacketSocket, guard: Guard) -> _SocketFilter:
    ebpf = guard.socket_filter()
    if ebpf is None:
        # 1 ms at start, which the eBPF filter does not need.
        from netkat.engine.classic_admission import ClassicSocketFilter

        return ClassicSocketFilter(wire)
    try:
        wire.set_program(ebpf.fd)
    except BaseException:
        ebpf.close()
        raise
    return ebpf
