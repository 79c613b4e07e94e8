"""Mark frames that netkat sent, in captures that also contain the kernel's.

Each netkat process announces its flows when they begin and end (netkat/bpf/flow_events.py). Flows
that began before the capture are found once, in the filters of packet sockets and the maps of
guards (netkat/bpf/own_flows.py). An outgoing frame of such a flow between these two times is
netkat's. Without the required capabilities no frame is marked.
"""

from __future__ import annotations

import functools
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from netkat.bpf.filters.flow_key import KEY
from netkat.bpf.flow_events import FlowEvent, FlowEventListener, announcers
from netkat.bpf.guard.guard_netns import NetnsHandle
from netkat.bpf.own_flows import own_flows
from netkat.capture.flow_statistics import Segment, parse_segment
from netkat.capture.packet import Packet
from netkat.resources import Closeable
from netkat.system_calls import system_call

_RESCAN_NS = 50_000_000
"""Nanoseconds after which the announcing process is checked again: a killed process announces no
end, and the kernel then sends a RST from the same addresses."""
_MAX_DELAY_NS = 1_000_000_000
"""Nanoseconds after the end of a flow when no frame of it is still in a ring."""
_MAX_FLOWS = 1 << 14


@dataclass(slots=True)
class _FlowLifetime:
    """Begin and end of a flow (ns), and the netlink ports of the processes that may own it:
    several if it began before the capture."""

    begun: int
    owners: set[int]
    seen: int
    ended: int | None = None


class OwnFrameMarker(Closeable):
    """Marks packets. Created in the network namespace of the capture.

    Capabilities are required by the constructor only. Errors: OSError.
    """

    def __init__(self) -> None:
        self._flows: dict[bytes, _FlowLifetime] = {}
        with ExitStack() as undo:
            # Subscribe before the scan, so that no flow is missed.
            with system_call("listen for netkat's own flows (socket, ioctl, setsockopt, bind)"):
                self._events = undo.enter_context(FlowEventListener())
            self._namespace = NetnsHandle()
            undo.callback(self._namespace.close)
            self._scan()
            self._undo = undo.pop_all()

    def fileno(self) -> int:
        """Return a descriptor that is readable when process_events() must be called."""
        return self._events.fileno()

    def process_events(self) -> None:
        """Process the flow events received since the last call."""
        for event in self._events.take():
            if event is None:
                self._scan()
            else:
                self._on_event(event)

    def close(self) -> None:
        """Close the subscription. Idempotent."""
        self._undo.close()

    def mark(self, packets: Sequence[Packet]) -> None:
        """Set ``sent_by_netkat`` of the packets that netkat sent."""
        # A flow's begin event is queued before its first frame reaches the ring.
        self.process_events()
        for packet in packets:
            if packet.direction == "out" and not packet.drop:
                packet.sent_by_netkat = self._sent_by_netkat(packet)

    def _on_event(self, event: FlowEvent) -> None:
        before = self._flows.pop(event.key, None)
        if not event.begins:
            if before is not None:
                before.ended = event.time_ns
                self._flows[event.key] = before
            return
        begun = event.time_ns
        if before is not None and (before.ended is None or begun - before.ended < _MAX_DELAY_NS):
            begun = before.begun
        self._flows[event.key] = _FlowLifetime(begun, {event.announcer}, event.time_ns)
        if len(self._flows) > _MAX_FLOWS:
            self._forget(event.time_ns)

    def _forget(self, now: int) -> None:
        for key, lifetime in list(self._flows.items()):
            if lifetime.ended is not None and now - lifetime.ended > _MAX_DELAY_NS:
                del self._flows[key]

    def _scan(self) -> None:
        """Add the flows that exist now and were not announced to this capture."""
        now = time.time_ns()
        with suppress(OSError):  # entering the namespace again requires CAP_SYS_ADMIN
            there, flows = self._namespace.call(lambda: (announcers(), own_flows()))
            for key in flows:
                self._flows.setdefault(key, _FlowLifetime(0, there, now))

    def _sent_by_netkat(self, packet: Packet) -> bool:
        try:
            segment = parse_segment(packet)
        except (struct.error, IndexError):
            return False
        if segment is None or segment.protocol not in (6, 17):
            return False
        return any(self._sent(key, packet.time_ns) for key in _keys(segment))

    def _sent(self, key: bytes, at: int) -> bool:
        lifetime = self._flows.get(key)
        if lifetime is None or at < lifetime.begun:
            return False
        if lifetime.ended is None and at - lifetime.seen > _RESCAN_NS:
            if any(self._events.is_open(owner) for owner in lifetime.owners):
                lifetime.seen = at
            else:
                # The end event may have just arrived; a killed process sends none.
                self.process_events()
                if lifetime.ended is None:
                    lifetime.ended = lifetime.seen
        return lifetime.ended is None or at <= lifetime.ended


def _keys(segment: Segment) -> tuple[bytes, bytes]:
    """Return the key of the flow, and that of a listener that may own it."""
    local, remote = _packed(segment.source), _packed(segment.target)
    version = 6 if ":" in segment.source else 4
    protocol, port = segment.protocol, segment.source_port
    return (
        KEY.pack(local, remote, port, segment.target_port, protocol, version, 0),
        KEY.pack(local, b"", port, 0, protocol, version, 0),
    )


@functools.lru_cache(maxsize=4096)
def _packed(address: str) -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.inet_pton(family, address)
