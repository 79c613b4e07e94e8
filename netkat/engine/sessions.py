"""The sessions of one uplink: in use, handed over to a socket, or closing without their owner."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from netkat.flow import Protocol

if TYPE_CHECKING:
    from netkat.engine.session import Session

ORPHAN = 60.0
"""Seconds a closed connection may go on delivering what it holds (as tcp_fin_timeout)."""

MOST_CLOSING = 256
"""Closing connections that are kept, TIME-WAIT included. Each holds the descriptor of its port."""


class Sessions:
    """Who is where. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_use: set[Session] = set()
        self._bridged: set[Session] = set()
        self._closing: dict[Session, float] = {}

    def add(self, session: Session) -> None:
        """It is in use."""
        with self._lock:
            self._in_use.add(session)

    def bridge(self, session: Session, descriptor: int) -> None:
        """The stack moves its bytes from now on. Errors: StackError; then nothing has changed."""
        with self._lock:
            session.endpoint.bridge(descriptor)
            self._in_use.discard(session)
            self._bridged.add(session)

    def retire(self, session: Session) -> bool:
        """Its owner is done with it; True where no other was closing."""
        with self._lock:
            self._in_use.discard(session)
            self._bridged.discard(session)
            alone = not self._closing
            self._closing[session] = time.monotonic() + ORPHAN
            return alone

    def discard(self, session: Session) -> None:
        """It is over."""
        with self._lock:
            self._in_use.discard(session)
            self._bridged.discard(session)
            self._closing.pop(session, None)

    def all(self) -> list[Session]:
        """Every one."""
        with self._lock:
            return [*self._in_use, *self._bridged, *self._closing]

    def unbridged(self) -> list[Session]:
        """Those whose bridge has ended."""
        with self._lock:
            return [session for session in self._bridged if not session.endpoint.bridged()]

    def ended(self) -> list[Session]:
        """Those of the closing that can be let go."""
        from netkat.stack.facts import State

        now = time.monotonic()
        with self._lock:
            closing = list(self._closing.items())
        # One in TIME-WAIT stays, to answer if its last ACK was lost: the kernel would send a RST.
        return [
            session
            for session, end in closing
            if session.endpoint.state() is not State.TIME_WAIT and (now >= end or _over(session))
        ]

    def take_surplus(self) -> Session | None:
        """Take away a connection if more than MOST_CLOSING are closing.

        The oldest that loses nothing (it is in TIME-WAIT), or the oldest.
        """
        with self._lock:
            if len(self._closing) <= MOST_CLOSING:
                return None
            closing = list(self._closing)
        chosen = next(filter(_over, closing), closing[0])
        return chosen if self.take(chosen) else None

    def take(self, session: Session) -> bool:
        """Takes away one of the closing; False where it is in another's hands by now."""
        with self._lock:
            return self._closing.pop(session, None) is not None

    def parting(self) -> bool:
        """Whether a peer of those that are closing still counts on one."""
        with self._lock:
            closing = list(self._closing)
        return not all(map(_over, closing))

    def delivered(self) -> tuple[list[Session], bool]:
        """Those of the closing whose peer has everything; and whether others still deliver."""
        with self._lock:
            bridged, closing = list(self._bridged), list(self._closing)
        done = [one for one in closing if one.endpoint.delivered() or _over(one)]
        return done, len(done) < len(closing) or any(one.endpoint.abandoned() for one in bridged)

    @property
    def closing(self) -> bool:
        """Whether any is."""
        return bool(self._closing)


def _over(session: Session) -> bool:
    """Whether a peer counts on nothing any more, or no datagram waits for its next hop."""
    if session.flow.protocol is Protocol.UDP:
        return not session.endpoint.leaving()
    return session.endpoint.over()
