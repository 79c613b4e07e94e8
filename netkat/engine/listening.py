"""A port that is listened on: claimed from the kernel first, opened in the stack later."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from netkat.bpf.guard.modes import GuardMode
from netkat.engine.path import Path
from netkat.engine.session import Session
from netkat.errors import BadArgument, PortTaken
from netkat.flow import Flow, IPAddress, Protocol
from netkat.host.listen_addresses import ListenAddress, find_listen_address, list_listen_addresses
from netkat.host.nat import rule_on
from netkat.host.port_reservation import PortReservation, reserve
from netkat.host.reply_routes import Network, reply_routes

if TYPE_CHECKING:
    from netkat.engine.bypass import Bypass
    from netkat.engine.uplink import Uplink
    from netkat.stack import Endpoint

BACKLOG = 128
"""Connections that may wait to be accepted, where the caller names no number (SOMAXCONN of old)."""

_TRIES = 8
"""Free ports to try against NAT rules before reporting that none is usable."""
_HOW = "choose another port, or take it from the host with --take-over"


class PortClaim:
    """A port on one address: guard, filter and reservation, until the last holder releases it.

    A connection outlives the listener that accepted it, and the kernel must not
    see its packets until it is over.
    """

    def __init__(
        self,
        bypass: Bypass,
        uplink: Uplink,
        flow: Flow,
        place: ListenAddress,
        reservation: PortReservation,
        routes: list[tuple[Network, IPAddress | None]],
    ) -> None:
        self._bypass = bypass
        self.uplink, self.flow, self.place = uplink, flow, place
        self.path = Path(place.link, place.address, None, None, place.link.mtu)
        self._reservation, self._routes = reservation, routes
        self.reply_mac = False
        self.taken_from = reservation.taken_from
        self._holders = 1
        self._listening = True
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        """The port, also where any was asked for."""
        return self.flow.local_port

    def reach(self) -> None:
        """Add routes for replies to clients: the host's routes, or back to the source MAC."""
        if self.reply_mac:
            self.uplink.answer_where_it_came_from(self.place.address)
            return
        self.uplink.reach_networks(self.place.address, self._routes)

    def plan(self, flow: Flow) -> Path:
        """Plan the path of a client's connection, in the network namespace."""
        assert flow.remote is not None
        name = self.uplink.link.name if flow.remote.is_link_local else None
        return self._bypass.paths.plan_again(flow, interface=name)

    def hold(self) -> None:
        """One more that needs it."""
        with self._lock:
            self._holders += 1

    def reopen(self) -> bool:
        """Take it for another listener, while connections of the last one go on.

        False if one listens, or the port has been given back.
        """
        with self._lock:
            if self._listening or not self._holders:
                return False
            self._listening = True
            self._holders += 1
            return True

    def stop_listening(self) -> None:
        """Allow another listener, and release it for the one that was."""
        with self._lock:
            self._listening = False
        self.release()

    def release(self) -> None:
        """One that needs it no more; the last gives all back."""
        with self._lock:
            self._holders -= 1
            if self._holders:
                return
        self.uplink.remove(self.flow)
        self.give_back()
        self._bypass.used(self)

    def give_back(self) -> None:
        """Release only the port, for when the uplink is closed. Idempotent."""
        self._reservation.close()


class AcceptedSession(Session):
    """One client's connection. Its packets are kept from the kernel by the listener's claim."""

    def __init__(self, endpoint: Endpoint, claim: PortClaim, flow: Flow) -> None:
        super().__init__(endpoint, claim.uplink, flow, claim.path, None)
        self._claim = claim
        if not claim.reply_mac:
            self.plan = lambda: claim.plan(flow)
        claim.hold()

    def prove(self) -> None:
        """Nothing to do: the listener's guard was proved when it was accepted."""

    def release(self) -> None:
        """For the uplink alone, after the endpoint is gone."""
        self._claim.release()


class ListeningSession(Session):
    """A TCP listener in the stack. close() refuses who waits; accepted connections live on."""

    def __init__(self, endpoint: Endpoint, claim: PortClaim) -> None:
        super().__init__(endpoint, claim.uplink, claim.flow, claim.path, None)
        self._claim = claim

    def accept(self) -> Session:
        """The next client that waits.

        Errors: BlockingIOError when none does, GuardFailed: the kernel answers clients as well.
        """
        endpoint, remote, port = self.endpoint.accept()
        mine = self.flow
        flow = Flow(mine.protocol, mine.local, mine.local_port, remote, port)
        session = AcceptedSession(endpoint, self._claim, flow)
        self.uplink.open(session)
        try:
            self.prove()
        except BaseException:
            session.abort()
            raise
        return session

    def close(self) -> None:
        """Listen no more; who was not accepted yet gets a RST."""
        self.abort()

    def release(self) -> None:
        """For the uplink alone, after the endpoint is gone."""
        self._claim.stop_listening()


class DatagramSession(Session):
    """A UDP endpoint that anybody may write to, until lock() chooses one peer."""

    def __init__(self, endpoint: Endpoint, claim: PortClaim) -> None:
        super().__init__(endpoint, claim.uplink, claim.flow, claim.path, None)
        self._claim = claim
        self._kept = False

    def lock(self, remote: IPAddress, port: int) -> None:
        """From now on its flow has this peer. Who else writes is for the caller to pass over."""
        mine = self._claim.flow
        self.flow = Flow(mine.protocol, mine.local, mine.local_port, remote, port)

    def prove(self) -> None:
        """As Session.prove, by the listener's flow: that is what the guard knows.

        Errors: GuardFailed.
        """
        if self._kept:
            return
        try:
            self.uplink.prove(self._claim.flow)
        except BaseException:
            self.abort()
            raise
        self._kept = True

    def release(self) -> None:
        """For the uplink alone, after the endpoint is gone."""
        self._claim.release()


def places(
    local: IPAddress | None, *, interface: str | None = None, version: int | None = None
) -> list[ListenAddress]:
    """Where to listen: one address, or all of an interface, the default route's without a name.

    Errors: BadArgument, OwnAddress, NoRoute, InterfaceNotFound, InterfaceDown.
    """
    if local is not None:
        if version not in (None, local.version):
            raise BadArgument(f"{local} is no IPv{version} address")
        return [find_listen_address(local, interface)]
    return list_listen_addresses(interface, (4, 6) if version is None else (version,))


def claim(
    bypass: Bypass,
    place: ListenAddress,
    port: int,
    *,
    protocol: Protocol = Protocol.TCP,
    take_over: bool = False,
    reply_mac: bool = False,
) -> PortClaim:
    """Take a port (0: any free one) from the kernel. Needs the privileges, and no library.

    A port that the host itself serves, by a socket, a NAT rule or a flow that conntrack
    knows, is taken with ``take_over`` alone: they get nothing until it is given back.
    ``reply_mac``: answers go to the MAC that the client's packets come from, not by route.
    Errors: PortTaken with its owner, BadArgument (``reply_mac`` without MACs), any SetupError.
    """
    address = place.address
    if reply_mac and not place.link.ethernet:
        raise BadArgument(f"--reply-mac: {place.link.name} carries no MACs")
    for other in bypass.port_claims():
        flow, usable = other.flow, other.uplink.fault is None and other.place.link == place.link
        same = (flow.protocol, flow.local, flow.local_port) == (protocol, address, port)
        if usable and same and other.reply_mac == reply_mac and other.reopen():
            return other
    with ExitStack() as undo:
        reservation = bypass.inside(lambda: _reserve(protocol, address, port, take_over))
        undo.callback(reservation.close)
        flow = Flow(protocol, address, reservation.port)
        path = Path(place.link, address, None, None, place.link.mtu)
        routes = bypass.inside(lambda: reply_routes(address, place.link.index))
        uplink = bypass.uplink(path)
        if reservation.fileno() < 0 and uplink.guard.mode in (GuardMode.SOCKET, GuardMode.NONE):
            raise PortTaken(
                f"port {port} on {address} is in use by {reservation.taken_from}, and the"
                f" {uplink.guard.mode} guard cannot take it over",
                owner=reservation.taken_from,
                hint="a guard at the interface can: --guard auto, as root",
            )
        uplink.add(flow, None)
        undo.pop_all()
    taken = PortClaim(bypass, uplink, flow, place, reservation, routes)
    taken.reply_mac = reply_mac
    bypass.hold(taken)
    return taken


def open_listener(claim: PortClaim, *, backlog: int = BACKLOG) -> ListeningSession:
    """Listen on a claimed port; the library is loaded by now. Gives the claim back on failure."""
    try:
        claim.reach()
        session = ListeningSession(claim.uplink.stack.listen(claim.flow, backlog), claim)
    except BaseException:
        claim.release()
        raise
    claim.uplink.open(session)
    return session


def open_datagrams(claim: PortClaim) -> DatagramSession:
    """Receive datagrams on a claimed port; the library is loaded by now. As open_listener."""
    try:
        claim.reach()
        session = DatagramSession(claim.uplink.stack.bind(claim.flow), claim)
    except BaseException:
        claim.release()
        raise
    claim.uplink.open(session)
    return session


def listen(
    bypass: Bypass,
    local: IPAddress | None,
    port: int,
    *,
    interface: str | None = None,
    backlog: int = BACKLOG,
    take_over: bool = False,
    version: int | None = None,
) -> ListeningSession:
    """All of it for one address; without ``local`` the interface's first, IPv4 unless ``version``.

    Errors: PortTaken, BadArgument (an address of another version) and other SetupErrors.
    """
    version = version or (None if local else 4)
    place = bypass.inside(lambda: places(local, interface=interface, version=version))[0]
    return open_listener(claim(bypass, place, port, take_over=take_over), backlog=backlog)


def _reserve(protocol: Protocol, address: IPAddress, port: int, take_over: bool) -> PortReservation:
    refused: list[PortReservation] = []
    try:
        while True:
            held = _held(protocol, address, port, take_over)
            owner = held.taken_from or rule_on(protocol, address, held.port)
            if owner is None or take_over:
                held.taken_from = owner
                return held
            # Kept until the end, or the kernel may choose it again.
            refused.append(held)
            if port or len(refused) == _TRIES:
                raise PortTaken(
                    f"{protocol} port {held.port} on {address} is served by {owner}",
                    owner=owner,
                    hint=_HOW,
                )
    finally:
        for other in refused:
            other.close()


def _held(protocol: Protocol, address: IPAddress, port: int, take_over: bool) -> PortReservation:
    try:
        return reserve(protocol, address, port)
    except PortTaken as taken:
        if not port:
            raise
        if take_over:
            return PortReservation.without_socket(port, taken.owner or "an unknown process")
        taken.hint = _HOW
        raise
