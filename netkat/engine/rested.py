"""A flow for the next connection to the same peer: of one that has rested in TIME-WAIT.

A port to reserve and entries in guard and filter, made and undone for each connection, are
a good part of what a short one costs. Who opens hundreds a second has as many at rest, each
with all of that: the one that has rested longest hands it on. RFC 1122, 4.2.2.13 allows a
TIME-WAIT to end so where the new SYN is above the old sequence numbers, and those of gVisor
rise with time (RFC 6528).

All of it is one call of the library (gs_take_over): that the old one rests, conntrack's
count, the guard's before and after, and the handshake where the peer answers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netkat.bpf.flow_key import key_of
from netkat.engine.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from netkat.engine.path import Path
    from netkat.engine.ports import Ports
    from netkat.engine.uplink import Uplink
    from netkat.flow import Flow, Peer
    from netkat.host.ports import Reservation
    from netkat.stack import Takeover

ENOUGH = 64
"""Connections at rest, from which on the oldest hands on. A program that opens few never meets
its own port again, and for one that opens many it has been out of use for as many connections."""

LOOKED_AT = 4
"""Connections that are tried. One that its peer has not ended yet goes to the end of the row."""


def resume(
    uplink: Uplink,
    path: Path,
    peer: Peer,
    ports: Ports,
    still_free: Callable[[Reservation, Flow], bool],
) -> Session | None:
    """A TCP connection that has begun on the flow of one that rests; None where none does.

    It is open, and the guard proved, where the peer has answered at once.
    ``still_free`` asks conntrack anew: a masqueraded flow may have come to use the port.
    Errors: StackError.
    """
    guard = uplink.guard.counts()
    if guard is None:
        return None
    for _ in range(LOOKED_AT):
        taken = uplink.sessions.take_one_that_may_rest(ENOUGH, peer)
        if taken is None:
            return None
        old, end = taken
        if old.path is not path and old.path != path:
            uplink.sessions.put_back(old, end)
            continue
        if old.terms is None:
            size = uplink.largest_segment(path, old.flow)
            old.terms = _terms(old.flow, guard, ports.census(), size)
        try:
            return _taken_over(old, old.terms, path, still_free)
        except BlockingIOError:
            uplink.sessions.put_back(old, end)
    return None


def _terms(flow: Flow, guard: int, census: int, size: int) -> Takeover:
    from netkat.stack import Takeover

    return Takeover(key_of(flow), guard, census, size)


def _taken_over(
    old: Session,
    terms: Takeover,
    path: Path,
    still_free: Callable[[Reservation, Flow], bool],
) -> Session | None:
    """None where the flow may not be taken over: it is given back then, as it is on an error.

    Errors: BlockingIOError, where it does not rest; StackError.
    """
    from netkat.stack import Code, StackError

    held = old.reservation
    assert held is not None, "take_one_that_may_rest() knows those alone that have one"
    try:
        try:
            found = old.endpoint.take_over(terms) if terms.asks_conntrack else None
        except StackError as error:
            if error.code is not Code.IN_USE:
                raise
            found = None
        if found is None:
            if not still_free(held, old.flow):
                _give_back(old)
                return None
            found = old.endpoint.take_over(terms, free=True)
    except BlockingIOError:
        raise
    except StackError as error:
        _give_back(old)
        if error.code is Code.INVALID:
            return None
        raise
    except BaseException:
        _give_back(old)
        raise
    endpoint, kept, proved = found
    reservation = old.hand_on()
    session = Session(endpoint, old.uplink, old.flow, path, reservation, kept)
    session.terms = terms
    if proved:
        session.opened()
    old.uplink.open(session)
    return session


def _give_back(old: Session) -> None:
    old.endpoint.close()
    old.release()
