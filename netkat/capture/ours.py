"""Frames that netkat sent, told apart from the kernel's.

Each netkat says what it sends on: in the filters of its packet sockets and in the maps of
its guards (netkat/bpf/own_flows.py). An outgoing frame of such a flow is netkat's, whichever
process it is. Where this process may not ask for them, frames stay unmarked.
"""

from __future__ import annotations

import functools
import socket
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing

from netkat.bpf.ebpf import KEY
from netkat.bpf.lookout import Lookout
from netkat.bpf.namespace import Namespace
from netkat.bpf.own_flows import own_flows
from netkat.capture.flows import Segment, read
from netkat.capture.packet import Packet
from netkat.closing import Closing
from netkat.host.capabilities import held
from netkat.wire.syn_watch import SynWatch

_PAUSE, _SHARE = 2_000_000, 10
"""Between two looks at the flows are at least so many nanoseconds, and so many times as long as
the last one took, however many new flows there are."""
_OLD = 1_000_000_000
"""After so long what was found, of ours or of others, is looked up anew."""
_KEPT = 1 << 14
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
"""What own_flows() asks with: for filters, for maps."""


class OwnFrames(Closing):
    """Marks packets as they pass. Made in the network namespace of the capture.

    A frame waits in its ring while a short connection may have ended and taken its
    filter along, so a socket of its own wakes this one for every connection that
    begins. ``apart`` has a child ask, which keeps the capabilities for it: the caller
    is about to drop its own. Errors of the constructor: those of SynWatch.
    """

    def __init__(self, *, apart: bool = False) -> None:
        self._ours: dict[bytes, int] = {}
        self._foreign: set[bytes] = set()
        self._asked = self._next = 0
        with ExitStack() as undo:
            self._beginnings = undo.enter_context(SynWatch())
            self._flows = _apart(undo) if apart else _here(undo)
            self._undo = undo.pop_all()

    def fileno(self) -> int:
        """Polls readable when notice() has something to do."""
        return self._beginnings.fileno()

    def notice(self) -> None:
        """Look at the flows if a connection has begun."""
        if self._beginnings.take():
            self._ask(time.time_ns())

    def close(self) -> None:
        """Close; more than once is once."""
        self._undo.close()

    def _ask(self, now: int) -> None:
        for key in self._flows():
            self._ours[key] = now
        self._asked = now
        self._next = now + max(_PAUSE, _SHARE * (time.time_ns() - now))
        if len(self._ours) > _KEPT:
            # What ended long ago has no frame on its way any more.
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
        if self._known(exact, listening, packet.time_ns, now):
            return True
        if exact in self._foreign:
            return False
        # Filter and guard hold a flow before its first frame leaves, so a look that is
        # younger than the frame settles it.
        if packet.time_ns > self._asked and now > self._next:
            self._ask(now)
        known = self._known(exact, listening, packet.time_ns, now)
        if not known and packet.time_ns <= self._asked:
            self._foreign.add(exact)
        return known

    def _known(self, exact: bytes, listening: bytes, sent: int, now: int) -> bool:
        for key in (exact, listening):
            at = self._ours.get(key)
            if at is None:
                continue
            if sent - at > _OLD and now > self._next:
                self._ask(now)
                at = self._ours.get(key, at)
            # A flow that has just ended still has frames on their way to us.
            if sent - at <= _OLD:
                return True
        return False


def _here(undo: ExitStack) -> Callable[[], set[bytes]]:
    """Asks from this process, in the namespace that the calling thread is in now."""
    namespace = Namespace()
    undo.callback(namespace.close)

    def ask() -> set[bytes]:
        try:
            return namespace.call(own_flows)
        except OSError:
            return set()

    return ask


def _apart(undo: ExitStack) -> Callable[[], set[bytes]]:
    """Asks a child of this process; nobody where no right to ask is held."""
    keep = [number for name, number in _CAPABILITIES.items() if name in held()]
    if not keep:
        return set
    with closing(Namespace()) as namespace:
        lookout = Lookout(namespace, _all_keys, keep)
    undo.callback(lookout.close)

    def ask() -> set[bytes]:
        try:
            found = lookout.ask()
        except OSError:
            return set()
        return {found[at : at + KEY.size] for at in range(0, len(found) - KEY.size + 1, KEY.size)}

    return ask


def _all_keys() -> bytes:
    return b"".join(own_flows())


def _keys(segment: Segment) -> tuple[bytes, bytes]:
    """The flow's own key, and the one of a listener that it could belong to."""
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
