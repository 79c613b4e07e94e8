"""Connections and listeners that bypass the host's rules: one object for every caller.

The command line, the library and every command use it in this order: prepare() and
claim_ports() while privileges are held, drop_privileges(), load(), then dial(), begin(),
share_port() and listen(). A library that keeps its privileges loads first and prepares later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

from netkat.engine.attachments import Attachments
from netkat.engine.attempt import Attempt, FlowPlan
from netkat.engine.path import Path
from netkat.engine.path_cache import Paths
from netkat.engine.process import Process
from netkat.engine.route_follower import Following
from netkat.engine.uplink import Uplink
from netkat.engine.wait import deadline_after
from netkat.errors import BadArgument, MissingCapability, NetkatError, Refused
from netkat.flow import Flow, IPAddress, Protocol
from netkat.host.capabilities import drop_all
from netkat.host.conntrack import EntryCounter
from netkat.host.port_reservation import reserve
from netkat.options import DEFAULT_LISTEN, DEFAULT_PATH, ListenOptions, PathOptions
from netkat.resources import Closeable
from netkat.system_calls import require_descriptors

if TYPE_CHECKING:
    from netkat.engine.claimed_ports import ClaimedPorts
    from netkat.engine.listening import PortClaim
    from netkat.engine.pump import Tap
    from netkat.engine.session import Session
    from netkat.engine.shared_port import SharedPort
    from netkat.host.netns import NetnsThread, NetworkNamespace
    from netkat.options import SocketOptions
    from netkat.stack import StackError
    from netkat.stack.codes import WouldBlock

T = TypeVar("T")

_POLL = 0.005
"""Seconds between two checks of closing connections: no descriptor reports their end."""

DESCRIPTORS = 28
"""The most that one connection and its interface hold at once, the Go runtime's own included
(26 measured). The Go runtime aborts the process where it cannot open its own."""


class Cancelled(Exception):
    """The caller's cancel descriptor fired while a connect was under way."""


class Bypass(Closeable):
    """The attachments to interfaces of one caller, and all that uses them.

    ``options`` are the defaults of prepare(); ``socket_options`` hold for every connection.
    """

    def __init__(
        self,
        options: PathOptions = DEFAULT_PATH,
        *,
        socket_options: SocketOptions | None = None,
        tap: Tap | None = None,
    ) -> None:
        self.options = options.check()
        self._socket_options = socket_options
        require_descriptors(DESCRIPTORS, "open the packet socket and the TCP/IP stack")
        self._process = Process()
        self._undo = ExitStack()
        self.paths = Paths()
        self._undo.callback(self.paths.close)
        self._census = EntryCounter()
        self._undo.callback(self._census.close)
        self._undo.callback(lambda: self._resident.close() if self._resident else None)
        self._attachments = Attachments(
            self.options, socket_options, tap, on_open=lambda: self.following.start()
        )
        self._undo.callback(self._attachments.close)
        self.following = Following(
            self.paths, inside=self.inside, attachments=self._attachments.all, attach=self.uplink
        )
        self._undo.callback(self.following.close)
        self._waiting: set[Attempt | PortClaim] = set()
        self._netns: NetworkNamespace | None = None
        self._resident: NetnsThread | None = None
        if options.netns is not None:
            from netkat.host.netns import NetworkNamespace

            self._netns = NetworkNamespace(options.netns)
            self._undo.callback(self._netns.close)

    def inside(self, function: Callable[[], T]) -> T:
        """Call a function in the network namespace of the uplinks.

        Nothing in it may start a thread that outlives it, nor call the Go library,
        which may: a thread keeps its maker's namespace, and the namespace alive.
        """
        self._process.require()
        if self._resident is not None:
            return self._resident.call(function)
        try:
            return function() if self._netns is None else self._netns.call(function)
        except MissingCapability as lacking:
            from netkat.host.capability_hints import raise_if_held

            raise_if_held(lacking)
            raise

    def prepare(
        self,
        destination: IPAddress,
        port: int,
        *,
        protocol: Protocol,
        options: PathOptions | None = None,
        peers: int = 1,
    ) -> Attempt:
        """Plan the path, reserve a port, and have guard and filter know the flow.

        ``options`` are this flow's, where they differ from the Bypass's. With more ``peers``
        than one, the local port is for all ports of the destination (share_port()).
        Errors: any SetupError; BadArgument for an option that all flows of a Bypass share.
        """
        chosen = self.options if options is None else self._checked(options)
        plan = FlowPlan(self.paths, destination, protocol, port, chosen)

        def make_ready() -> Attempt:
            epoch = self.paths.refresh()
            path = plan()
            if path.broadcast and not (self._socket_options and self._socket_options.broadcast):
                raise BadArgument(
                    f"{destination} is a broadcast address", hint="-b sends to all hosts there"
                )
            if chosen.claim is not None:
                from netkat.engine import claimed_address

                claimed_address.check(chosen.claim, path.link)
            return self._ready(plan, path, peers, epoch)

        try:
            attempt = self.inside(make_ready)
        except MissingCapability as lacking:
            from netkat.host.capability_hints import capability_hint

            lacking.hint = capability_hint()
            raise
        self._attachments.load_if_wanted(attempt.uplink)
        return attempt

    def _ready(
        self,
        plan: FlowPlan,
        path: Path,
        peers: int,
        epoch: int,
    ) -> Attempt:
        protocol, options = plan.protocol, plan.options
        destination, port = plan.destination, plan.port
        remote, remote_port = (destination, port) if peers == 1 else (None, 0)
        with ExitStack() as undo:
            reservation = reserve(
                protocol,
                path.source,
                options.source_port,
                remote=remote,
                remote_port=remote_port,
                foreign=options.claim is not None,
                census=self._census,
            )
            undo.callback(reservation.close)
            source = path.source if options.claim is None else options.source
            bound = options._replace(source=source, source_port=reservation.port)
            plan = plan._replace(options=bound)
            if options.claim is None and not options.source_port and self.paths.ports_decide():
                # Now that the port is known: rules and multipath use all five.
                path = plan()
            flow = Flow(protocol, path.source, reservation.port, remote, remote_port)
            uplink = self._attachments.open(path)
            uplink.add(flow, path.next_hop)
            undo.pop_all()

        attempt = Attempt(flow, path, uplink, reservation, destination, port, plan, epoch)
        self.hold(attempt)
        return attempt

    def _checked(self, options: PathOptions) -> PathOptions:
        """Return the options. Errors: BadArgument where they need attachments of their own."""
        for name in ("netns", "claim", "guard", "qdisc_bypass"):
            if getattr(options, name) != getattr(self.options, name):
                raise BadArgument(f"{name} cannot differ between connections of one stack")
        return options.check()

    def claim_ports(
        self,
        addresses: Sequence[IPAddress],
        port: int,
        *,
        protocol: Protocol = Protocol.TCP,
        options: ListenOptions = DEFAULT_LISTEN,
    ) -> ClaimedPorts:
        """Take one port (0: any free one) on some addresses, or on all of the interfaces.

        Needs the privileges; listening on them does not. Errors: PortTaken with its owner,
        any SetupError.
        """
        from netkat.engine.claimed_ports import claim_ports

        return claim_ports(self, addresses, port, protocol=protocol, options=options)

    def hold(self, prepared: Attempt | PortClaim) -> None:
        """Give it back at close(), unless used() is called before."""
        self._waiting.add(prepared)

    def used(self, prepared: Attempt | PortClaim) -> None:
        """A session has it from now on, or it was given back."""
        self._waiting.discard(prepared)

    def port_claims(self) -> list[PortClaim]:
        """The ports that listeners or their connections have."""
        return [prepared for prepared in list(self._waiting) if not isinstance(prepared, Attempt)]

    def uplink(self, path: Path) -> Uplink:
        """The uplink of the path's interface, opened when it is the first to want it."""
        uplink = self.inside(lambda: self._attachments.open(path))
        self._attachments.load_if_wanted(uplink)
        return uplink

    def notes(self) -> list[str]:
        """For -v: each uplink's guard."""
        usable = self._attachments.usable()
        return [f"{one.link.name}: {one.guard.describe()}" for one in usable]

    def drop_privileges(self) -> None:
        """Give up every capability of this thread, for good. After the last prepare().

        Errors: SetupError when some are still held.
        """
        for uplink in self._attachments.usable():
            uplink.guard.keep_sight()
        if self._netns is not None:
            from netkat.host.netns import NetnsThread

            # Entering again would need CAP_SYS_ADMIN.
            self._resident = NetnsThread(self._netns)
            self._resident.call(drop_all)
        drop_all()

    def load(self) -> None:
        """Load the Go library and start the pumps: from here on there are threads.

        Errors: LibraryMissing, LibraryMismatch; SetupError in a forked child or a subinterpreter.
        """
        from netkat.stack.ffi import require_process

        require_process()
        self._attachments.load()

    def abandon(self, attempt: Attempt) -> None:
        """Release an attempt that will not be dialled."""
        self.used(attempt)
        attempt.uplink.remove(attempt.flow)
        attempt.reservation.close()

    def dial(
        self, attempt: Attempt, *, timeout: float | None, cancel_fd: int | None = None
    ) -> Session:
        """Connect (TCP) or open (UDP) the attempt's flow. ``timeout`` in seconds.

        Errors: any NetworkError, GuardFailed, InterfaceDown; Cancelled.
        """
        session = self.begin(attempt)
        self.finish(session, timeout=timeout, cancel_fd=cancel_fd)
        return session

    def finish(
        self, session: Session, *, timeout: float | None, cancel_fd: int | None = None
    ) -> None:
        """Wait until what was begun is open; it is aborted where it will not be.

        Errors: as dial.
        """
        if session.proved:
            return
        deadline = deadline_after(timeout)
        began = time.monotonic()
        try:
            while not self.is_established(session):
                if session.wait(session.endpoint.writable_fd(), deadline, cancel_fd):
                    continue
                if deadline is None or time.monotonic() < deadline:
                    raise Cancelled
                raise session.no_answer(time.monotonic() - began)
        except BaseException:
            session.abort()
            raise

    def share_port(self, attempt: Attempt) -> SharedPort:
        """Use an attempt that was prepared for many ``peers`` for any port of its destination."""
        from netkat.engine.shared_port import SharedPort

        return SharedPort(attempt)

    def wait_closed(self, seconds: float) -> None:
        """Wait for the peers of closed connections to close them too, that long at most."""
        end = time.monotonic() + seconds
        while self._closing() and time.monotonic() < end:
            time.sleep(_POLL)

    def _closing(self) -> bool:
        return any(uplink.parting() for uplink in self._attachments.usable())

    def close(self, *, linger: float = 0.0) -> None:
        """Close every uplink, and what was never dialled. Idempotent.

        What closed connections still hold has ``linger`` seconds to be delivered; what was
        not is ended by RST. In a forked child nothing is closed: it is all the parent's.
        """
        if self._process.forked():
            return
        try:
            deadline = time.monotonic() + linger
            for uplink in self._attachments.usable() if linger else ():
                uplink.deliver(deadline)
        finally:
            self._undo.close()
            while self._waiting:
                self._waiting.pop().give_back()

    def begin(self, attempt: Attempt) -> Session:
        """Send the SYN (TCP), or open (UDP). The caller asks is_established() until it is.

        Errors: StackError, NoRoute.
        """
        from netkat.engine.session import Session

        path, uplink, flow = attempt.path, attempt.uplink, attempt.flow
        try:
            endpoint = uplink.connect(flow, path)
        except NetkatError:
            self.abandon(attempt)
            raise
        self.used(attempt)
        session = Session(endpoint, uplink, flow, path, attempt.reservation)
        session.plan = attempt.plan
        uplink.open(session)
        self.following.begin(session, attempt.epoch)
        return session

    def is_established(self, session: Session) -> bool:
        """Whether a begun connection is open; poll its writable descriptor until it is.

        Errors: any NetworkError, GuardFailed; the caller aborts the session then.
        """
        if session.proved or session.flow.protocol is Protocol.UDP:
            return True
        try:
            session.endpoint.connect_result()
        except would_block():
            return False
        except stack_error() as error:
            raise self._named(session, error) from None
        session.prove()
        return True

    def _named(self, session: Session, error: StackError) -> NetkatError:
        fault = session.fault(error, connecting=True)
        if isinstance(fault, Refused) and fault.by == "RST":
            # A RST is an answer as well: the guard must have seen it.
            session.prove()
        return fault


def stack_error() -> type[StackError]:
    """For an except clause, which asks only when there is something to catch."""
    from netkat.stack import StackError

    return StackError


def would_block() -> type[WouldBlock]:
    """As stack_error()."""
    from netkat.stack.codes import WouldBlock

    return WouldBlock
