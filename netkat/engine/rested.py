"""A flow for the next connection to the same peer: of one that has rested in TIME-WAIT.

A port to reserve and entries in guard and filter, made and undone for each connection, are
a good part of what a short one costs. Who opens hundreds a second has as many at rest, each
with all of that: the one that has rested longest hands it on. RFC 1122, 4.2.2.13 allows a
TIME-WAIT to end so where the new SYN is above the old sequence numbers, and those of gVisor
rise with time (RFC 6528).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from netkat.flow import Flow, IPAddress, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from netkat.engine.path import Path
    from netkat.engine.session import Session
    from netkat.engine.uplink import Uplink
    from netkat.host.ports import Reservation

ENOUGH = 64
"""Connections at rest, from which on the oldest hands on. A program that opens few never meets
its own port again, and for one that opens many it has been out of use for as many connections."""


class Rested(NamedTuple):
    """A flow with all that is held for it; ``kept`` is the guard's count of it up to now."""

    flow: Flow
    reservation: Reservation
    kept: int


def rested(
    uplink: Uplink,
    still_free: Callable[[Reservation, Flow], bool],
    path: Path,
    destination: IPAddress,
    port: int,
) -> Rested | None:
    """What a TCP connection to that peer, by that path, may have; None where there is none.

    ``still_free`` asks conntrack anew: a masqueraded flow may have come to use the port.
    """

    def fits(session: Session) -> bool:
        flow = session.flow
        return (
            flow.remote_port == port
            and flow.protocol is Protocol.TCP
            and flow.remote == destination
            and (session.path is path or session.path == path)
            and session.reservation is not None
        )

    old = uplink.oldest_at_rest(ENOUGH, fits)
    if old is None:
        return None
    old.endpoint.close()
    try:
        kept = uplink.guard.kept(old.flow)
        held = old.reservation
        free = kept is not None and held is not None and still_free(held, old.flow)
        reservation = old.hand_on() if free else None
    finally:
        old.release()
    if reservation is None or kept is None:
        return None
    return Rested(old.flow, reservation, kept)
