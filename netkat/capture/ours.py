"""Frames that netkat sent, told apart from the kernel's.

What netkat sends goes by an eBPF guard that holds its flows, whichever process it
is, so an outgoing frame of such a flow is netkat's. Where the guard is of another
kind, or this process may not ask for it, frames stay unmarked.
"""

from __future__ import annotations

import functools
import socket
import struct
import time
from collections.abc import Sequence

from netkat.bpf.own_flows import KEY, own_flows
from netkat.capture.flows import Segment, read
from netkat.capture.packet import Packet
from netkat.wire.syn_watch import SynWatch

_PAUSE = 50_000_000
"""Nanoseconds between two looks at the guards, however many new flows there are."""
_OLD = 1_000_000_000
"""After so long what was found, of ours or of others, is looked up anew."""
_KEPT = 1 << 14


class OwnFrames:
    """Marks packets as they pass.

    A frame waits in its ring while a short connection may have ended and left the
    guard, so a socket of its own wakes this one for every connection that begins.
    close() is idempotent. Errors of the constructor: those of SynWatch.
    """

    def __init__(self) -> None:
        self._ours: dict[bytes, int] = {}
        self._foreign: set[bytes] = set()
        self._asked = 0
        self._beginnings = SynWatch()

    def fileno(self) -> int:
        """Polls readable when notice() has something to do."""
        return self._beginnings.fileno()

    def notice(self) -> None:
        """Look at the guards if a connection has begun."""
        if self._beginnings.take():
            self._ask(time.time_ns())

    def close(self) -> None:
        """Close; more than once is once."""
        self._beginnings.close()

    def _ask(self, now: int) -> None:
        for key in own_flows():
            self._ours[key] = now
        self._asked = now
        if len(self._ours) > _KEPT:
            # What has left the guards long ago has no frame on its way any more.
            self._ours = {key: at for key, at in self._ours.items() if now - at < _OLD}

    def mark(self, packets: Sequence[Packet]) -> None:
        """Set ``ours`` of those that netkat sent."""
        for packet in packets:
            if packet.direction == "out" and not packet.drop:
                packet.ours = self._is_ours(packet)

    def _is_ours(self, packet: Packet) -> bool:
        try:
            segment = read(packet)
        except (struct.error, IndexError):
            return False
        if segment is None or segment.protocol not in (6, 17):
            return False
        exact, listening = _keys(segment)
        now = time.time_ns()
        if now - self._asked > _OLD:
            self._foreign.clear()
        if self._known(exact, listening, now):
            return True
        if exact in self._foreign:
            return False
        # The guard holds a flow before its first frame leaves, so a look that is
        # younger than the frame settles it.
        if packet.time_ns > self._asked and now - self._asked > _PAUSE:
            self._ask(now)
        known = self._known(exact, listening, now)
        if not known and packet.time_ns <= self._asked:
            self._foreign.add(exact)
        return known

    def _known(self, exact: bytes, listening: bytes, now: int) -> bool:
        for key in (exact, listening):
            at = self._ours.get(key)
            if at is None:
                continue
            if now - at > _OLD and now - self._asked > _PAUSE:
                self._ask(now)
                at = self._ours[key]
            # A flow that has just ended still has frames on their way to us.
            if now - at <= _OLD:
                return True
        return False


def _keys(segment: Segment) -> tuple[bytes, bytes]:
    """The flow's own key, and the one of a listener that it could belong to."""
    local, remote = _packed(segment.source), _packed(segment.target)
    version = 6 if ":" in segment.source else 4
    protocol, port = segment.protocol, segment.source_port
    return (
        KEY.pack(local, remote, port, segment.target_port, protocol, version),
        KEY.pack(local, b"", port, 0, protocol, version),
    )


@functools.lru_cache(maxsize=4096)
def _packed(address: str) -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.inet_pton(family, address)
