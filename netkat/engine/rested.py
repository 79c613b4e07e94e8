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

from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from netkat.bpf.flow_key import key_of
from netkat.engine.bypass import stack_error
from netkat.engine.session import Session
from netkat.flow import Flow, IPAddress, Protocol, peer_of
from netkat.stack.ffi import refuse_forked

if TYPE_CHECKING:
    from collections.abc import Callable

    from netkat.engine.path import Path
    from netkat.engine.paths import Paths
    from netkat.engine.ports import Ports
    from netkat.engine.uplink import Uplink
    from netkat.host.ports import Reservation
    from netkat.stack import Endpoint, Takeover

ENOUGH = 64
"""Connections at rest, from which on the oldest hands on. A program that opens few never meets
its own port again, and for one that opens many it has been out of use for as many connections."""

LOOKED_AT = 4
"""Connections that are tried. One that its peer has not ended yet goes to the end of the row."""


MOST = 4096
"""Peers that are known again: those of a scan of a large net are not."""


class Revisits:
    """The peers that one program connects to, by whatever it calls them.

    Not by names: what one stands for may change, and the resolver is asked each time.
    """

    def __init__(self, make: Callable[[IPAddress, int], Revisit | None]) -> None:
        self._make = make
        self._known: dict[tuple[object, object], Revisit] = {}

    def begin(self, where: tuple[object, object]) -> Session | None:
        """As Revisit.begin; None for a peer that is not known, too."""
        try:
            revisit = self._known.get(where)
        except TypeError:  # not hashable; whatever else is wrong with it is said elsewhere
            return None
        return None if revisit is None else revisit.begin()

    def remember(self, where: tuple[object, object], address: IPAddress, port: int) -> None:
        """That this leads to that port of that address."""
        if where in self._known:
            return
        revisit = self._make(address, port)
        if revisit is not None:
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[where] = revisit


class _Way(NamedTuple):
    path: Path
    uplink: Uplink
    guard: int
    """The descriptor of the guard's map."""
    epoch: int
    """Of the paths, in which this was found."""


class Revisit:
    """Connections to one peer, one after the other, by the way that is known to lead there.

    ``still_free`` asks conntrack anew: a masqueraded flow may have come to use a port that
    was held all the time.
    """

    def __init__(
        self,
        destination: IPAddress,
        port: int,
        *,
        choices: tuple[object, ...],
        forked: Callable[[], bool],
        paths: Paths,
        uplinks: dict[int, Uplink],
        ports: Ports,
        still_free: Callable[[Reservation, Flow], bool],
    ) -> None:
        """``choices`` are Paths.plan()'s; ``forked`` says whether this is a forked child."""
        self._forked = forked
        self._destination, self._choices = destination, choices
        self._peer = peer_of(Protocol.TCP, destination, port)
        self._paths, self._uplinks, self._ports = paths, uplinks, ports
        self._still_free = still_free
        self._way: _Way | None = None

    def begin(self) -> Session | None:
        """A connection that has begun on the flow of one that rests; None where none does.

        It is open, and the guard proved, where the peer has answered at once.
        Errors: StackError.
        """
        if self._forked():
            refuse_forked()
        way = self._way
        paths = self._paths
        if way is None or paths.epoch != way.epoch or monotonic() >= paths.until:
            way = self._way = self._find_way()
            if way is None:
                return None
        path, uplink, sessions = way.path, way.uplink, way.uplink.sessions
        for _ in range(LOOKED_AT):
            taken = sessions.take_one_that_may_rest(ENOUGH, self._peer)
            if taken is None:
                return None
            old, end = taken
            if old.path is not path and old.path != path:
                sessions.put_back(old, end)
                continue
            terms = old.terms
            if terms is None:
                terms = old.terms = self._terms(old.flow, way)
            # First: whoever finds the old one ended from now on has nothing to give back.
            held = old.hand_on()
            if held is None:
                continue
            try:
                found = self._taken_over(old, held, terms)
            except BlockingIOError:
                old.take_back()
                sessions.put_back(old, end)
                continue
            except BaseException:
                _give_back(old)
                raise
            if found is None:
                _give_back(old)
                return None
            endpoint, kept, proved = found
            session = Session(endpoint, uplink, old.flow, path, held, kept)
            session.terms, session.proved = terms, proved
            uplink.open(session)
            return session
        return None

    def _find_way(self) -> _Way | None:
        epoch = self._paths.epoch
        path = self._paths.known(self._destination, *self._choices)
        uplink = None if path is None else self._uplinks.get(path.link.index)
        guard = None if uplink is None else uplink.guard.counts()
        if path is None or uplink is None or guard is None:
            return None
        return _Way(path, uplink, guard, epoch)

    def _terms(self, flow: Flow, way: _Way) -> Takeover:
        from netkat.stack import Takeover

        return Takeover(
            key_of(flow),
            guard=way.guard,
            news=self._paths.news(),
            census=self._ports.census(),
            max_segment=way.uplink.largest_segment(way.path, flow),
        )

    def _taken_over(
        self, old: Session, held: Reservation, terms: Takeover
    ) -> tuple[Endpoint, int, bool] | None:
        """As Endpoint.take_over; None where the flow may not be taken over."""
        try:
            return old.endpoint.take_over(terms)
        except stack_error() as error:
            from netkat.stack import Code

            if error.code is Code.UNREACHABLE:
                self._way = None  # there are news
                return None
            if error.code is Code.INVALID:  # the guard does not tell
                return None
            if error.code is not Code.IN_USE:
                raise
        if self._still_free(held, old.flow):
            return old.endpoint.take_over(terms, free=True)
        return None


def _give_back(old: Session) -> None:
    old.endpoint.close()
    old.take_back()
    old.release()
