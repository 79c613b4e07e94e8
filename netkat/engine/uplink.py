"""One interface made ready: wire and guard first, the stack and its pump when wanted.

The order is the point. Opening a packet socket and attaching a guard need
capabilities; loading the Go library starts threads, and capabilities are per
thread. So a program that wants to run with none opens its uplinks, drops, and
only then calls load().
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from ipaddress import ip_network
from typing import TYPE_CHECKING

from netkat.bpf.egress import EgressHooks, egress_hooks
from netkat.bpf.guard.guard_netns import NetnsHandle
from netkat.bpf.guard.select_mode import Guard, GuardLink, attach
from netkat.engine.attempt import open_endpoint
from netkat.engine.flow_filter import Admission
from netkat.engine.import_thread import import_in_thread
from netkat.engine.option_numbers import by_number
from netkat.engine.process import Process
from netkat.engine.sessions import Sessions
from netkat.engine.wait import wait_readable
from netkat.errors import GuardFailed, NetkatError
from netkat.flow import Flow, IPAddress, Protocol
from netkat.host.links import Link
from netkat.resources import close_concurrently
from netkat.system_calls import system_call
from netkat.wire.packet_socket import BLOCK_ALL, PacketSocket

if TYPE_CHECKING:
    from netkat.engine.path import Path
    from netkat.engine.pump import Pump, Tap
    from netkat.engine.route_follower import Inside
    from netkat.engine.session import Session
    from netkat.host.reply_routes import Network
    from netkat.options import PathOptions, SocketOptions
    from netkat.stack import Endpoint, Stack

PROOF = 0.25
"""Seconds that the guard has to show that it ran. It runs right after the tap that feeds
us, in the same softirq (net/core/dev.c, __netif_receive_skb_core), so microseconds
do; the rest is for a busy machine."""

_SHORTEST, _LONGEST = 0.0005, 0.02
"""Seconds between two checks of what is acknowledged."""


class Uplink:
    """Wire, guard, stack and pump on one interface. close() is idempotent and undoes all of it."""

    def __init__(
        self,
        link: Link,
        *,
        options: PathOptions,
        socket_options: SocketOptions | None = None,
        tap: Tap | None = None,
        on_open: Callable[[], None] = lambda: None,
    ) -> None:
        self.link = link
        self._socket_options = socket_options
        self._claim = claim = options.claim
        self._mac = link.mac if link.ethernet else None
        self._tap = tap
        self._lock = threading.RLock()
        self.sessions = Sessions()
        self._on_open = on_open
        self._stack: Stack | None = None
        self._pump: Pump | None = None
        self._addresses: set[IPAddress] = set()
        self._neighbors: dict[IPAddress, bytes] = {}
        self._replies: dict[IPAddress, dict[Network, IPAddress | None]] = {}
        """The routes of replies, by the address that is listened on."""
        self._destinations: dict[Network, IPAddress | None] = {}
        """The routes of datagrams from endpoints without a peer."""
        self._fixed: dict[IPAddress, bytes] = {}
        self._by_arrival = False
        self.process = Process()
        self.fault: NetkatError | None = None
        self.closed = False
        with ExitStack() as undo:
            with system_call("create an eventfd (eventfd2)"):
                self.fault_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            undo.callback(os.close, self.fault_fd)
            # Nothing passes this filter yet: flows come one by one, each armed
            # before its first packet leaves.
            self.wire = PacketSocket(
                link.name,
                link.index,
                ethernet=link.ethernet,
                filter=BLOCK_ALL,
                qdisc_bypass=options.qdisc_bypass,
            )
            undo.callback(self.wire.close)
            place = GuardLink(link.name, link.index, link.ethernet)
            self.guard: Guard = attach(place, options.guard, while_waiting=import_in_thread)
            # To let go of either waits for every processor; so they are let go of at once.
            undo.callback(close_concurrently, self.guard.close, self.wire.close)
            self.admission = Admission(self.wire, self.guard)
            undo.callback(self.admission.close)
            self.add, self.remove = self.admission.add, self.admission.remove
            if claim is not None:
                from netkat.engine.claimed_address import take

                self._mac = take(claim, link, self.wire, self.guard)
            # Looked at while privileges are held: once they are dropped, nobody may.
            self._hooks = egress_hooks(link.index)
            self._namespace = NetnsHandle()
            undo.callback(self._namespace.close)
            self._undo = undo.pop_all()

    def load(self) -> None:
        """Load the Go library and start the pump; once."""
        from netkat.stack import Stack

        with self._lock:
            if self._stack is not None:
                return
            stack = Stack(self.link.mtu, self._mac)
            self._undo.callback(stack.close)
            if self._socket_options is not None:
                stack.set_options(by_number(self._socket_options))
            self._pump = self._new_pump(stack)
            self._undo.callback(self._pump.close)
            self._stack = stack

    def _new_pump(self, stack: Stack) -> Pump:
        from netkat.engine.pump import Pump

        fault, look = self.fail, self._look_after_closing
        if self._tap is None:
            return Pump(self.wire, stack, on_fault=fault, housekeeping=look)
        from netkat.engine.tapped_pump import TappedPump

        return TappedPump(self.wire, stack, on_fault=fault, housekeeping=look, tap=self._tapped)

    def open(self, session: Session) -> None:
        """Add a session, whose first packet was sent. close() ends those that are still open."""
        self.sessions.add(session)
        self._on_open()

    @property
    def stack(self) -> Stack:
        """The loaded stack."""
        assert self._stack is not None, "load() comes first"
        return self._stack

    def flush(self) -> None:
        """Send what the stack has waiting, on this thread."""
        if self._pump is not None:
            self._pump.flush()

    def wait(self, descriptors: Sequence[int], deadline: float | None) -> set[int]:
        """Until one of the descriptors polls readable, moving frames; see Pump.wait."""
        if self._pump is not None:
            return self._pump.wait(descriptors, deadline)
        return wait_readable(descriptors, deadline)

    def reach(
        self,
        source: IPAddress,
        destination: IPAddress,
        next_hop: IPAddress | None,
        next_hop_mac: bytes | None,
    ) -> None:
        """Add an address, and the route of datagrams to one destination; the last call counts."""
        gateway = next_hop if next_hop != destination else None
        network = ip_network(destination.packed)
        with self._lock:
            self.add_source(source)
            if self._destinations.get(network, destination) != gateway:
                self._destinations[network] = gateway
                self._set_routes()
            hop = next_hop or destination
            if self._fixed.get(hop) != next_hop_mac:
                self.stack.forget_neighbor(hop)
                if next_hop_mac is None:
                    del self._fixed[hop]
                else:
                    self._fixed[hop] = next_hop_mac
                    self.stack.add_neighbor(hop, next_hop_mac)

    def add_source(self, source: IPAddress) -> None:
        """Add an address to the stack; idempotent."""
        with self._lock:
            if source in self._addresses:
                return
            if source == self._claim:
                self.stack.claim_address(source)
            else:
                self.stack.add_address(source, assigned=True)
            self._addresses.add(source)

    def reach_networks(
        self, source: IPAddress, networks: Iterable[tuple[Network, IPAddress | None]]
    ) -> None:
        """Add an address to listen on, and the routes of replies from it (None: on-link)."""
        with self._lock:
            self.add_source(source)
            self._replies[source] = dict(networks)
            self._set_routes()

    def _set_routes(self) -> None:
        merged: dict[Network, IPAddress | None] = {}
        for networks in (*self._replies.values(), self._destinations):
            merged |= networks
        self.stack.set_routes(merged.items())

    def answer_where_it_came_from(self, source: IPAddress) -> None:
        """Teach the stack an address, and to send to the MAC that each peer's packets come from.

        Call it before the first packet can arrive. Idempotent.
        """
        with self._lock:
            if not self._by_arrival:
                self._by_arrival = True
                self.stack.answer_where_it_came_from()
            self.add_source(source)

    def connect(self, flow: Flow, path: Path) -> Endpoint:
        """Return an endpoint that begins to connect by a path. Errors: StackError, NoRoute."""
        self.add_source(flow.local)
        return open_endpoint(self.stack, flow, path, self.link.name)

    def prove(self, flow: Flow) -> None:
        """The first answer was seen here: the guard must have kept it from the kernel.

        Errors: GuardFailed, naming the program in its way.
        """
        end = time.monotonic() + PROOF
        while self.guard.kept(flow) == 0:
            if time.monotonic() > end:
                program = self.guard.explain_miss()
                raise GuardFailed(
                    f"the {self.guard.mode} guard on {self.link.name} did not see the reply"
                    f" [{program or 'no other program found'}]",
                    program=program,
                    hint="remove that program, or select another mode with --guard",
                )
            time.sleep(0.001)

    def egress_hooks(self) -> EgressHooks:
        """What stands at the egress; what stood there at the start if this process may not look."""
        with suppress(OSError):
            hooks = self._namespace.call(lambda: egress_hooks(self.link.index, load_modules=True))
            if not hooks.unseen:
                return hooks
            if hooks.found and not self._hooks.found:
                return hooks
        return self._hooks

    def bridge(self, session: Session, descriptor: int) -> None:
        """Have the stack move the session's bytes to and from a socketpair's end, and look after
        the session from then on. Errors: StackError; the descriptor is the caller's then.
        """
        self.sessions.bridge(session, descriptor)

    def retire(self, session: Session) -> None:
        """Take over a connection that its owner is done with, until the peer is done too."""
        if self.fault is not None:
            self.drop(session)
            return
        first = self.sessions.retire(session)
        if session.flow.protocol is Protocol.TCP:
            try:
                session.endpoint.retire()
            except NetkatError:
                pass  # it may be over already
        else:
            self.flush()
        self._limit_closing()
        if self._pump is not None and first:
            self._pump.attend()

    def _limit_closing(self) -> None:
        """Reset the oldest closing connection if there are too many, as tcp_max_orphans does."""
        surplus = self.sessions.take_surplus()
        while surplus is not None:
            self.drop(surplus)
            surplus = self.sessions.take_surplus()

    def parting(self) -> bool:
        """True while a retired connection's peer is not done."""
        return self.sessions.parting()

    def drop(self, session: Session) -> None:
        """End a session now: RST where a peer still counts on it."""
        self.sessions.discard(session)
        if not session.endpoint.over():
            session.endpoint.abort()
            self.flush()
        self._let_go(session)

    def deliver(self, deadline: float) -> None:
        """Wait until the peers of closed connections have all that those held; these just end.

        Until the deadline, on the monotonic clock. There is no descriptor for an acknowledgement.
        """
        pause = _SHORTEST
        while self.fault is None:
            delivered, more = self.sessions.delivered()
            for session in delivered:
                self._let_go(session)
            if not more or time.monotonic() + pause > deadline:
                return
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST)

    def follow_link(self, now: Link) -> None:
        """Use the interface's MAC, MTU and name as they are now."""
        with self._lock:
            before, self.link = self.link, now
            self.wire.interface = now.name
            if self._mac == before.mac and now.ethernet:
                self._mac = now.mac
            if self._stack is not None and (before.mac, before.mtu) != (now.mac, now.mtu):
                self._stack.set_link(now.mtu, self._mac)

    def follow_addresses(self, held: set[bytes]) -> None:
        """Use the addresses that this host has now, and no other."""
        with self._lock:
            if self._stack is None:
                return
            for address in self._addresses - {self._claim}:
                if address.packed in held:
                    self._stack.add_address(address, assigned=True)
                else:
                    self._stack.remove_address(address)

    def follow_neighbor(self, address: IPAddress, mac: bytes | None) -> None:
        """Resolve a neighbour again where the kernel has another MAC for it than before."""
        if mac is None:
            return
        before = self._neighbors.get(address)
        self._neighbors[address] = mac
        if before not in (None, mac) and self._stack is not None:
            self._stack.forget_neighbor(address)

    def follow_routes(self, inside: Inside) -> None:
        """Have listeners reply by the routes that there are now."""
        with self._lock:
            sources = list(self._replies)
        if not sources:
            return
        index = self.link.index
        from netkat.host.reply_routes import reply_routes  # 1 ms, for listeners alone

        tables = inside(lambda: [reply_routes(source, index) for source in sources])
        for source, networks in zip(sources, tables, strict=True):
            self.reach_networks(source, networks)

    def close(self) -> None:
        """End every connection (RST where the peer still counts on it) and undo all, in reverse."""
        for session in self.sessions.all():
            session.abort()
            self.drop(session)
        self.closed = True
        self._undo.close()

    def _let_go(self, session: Session) -> None:
        self.sessions.discard(session)
        session.endpoint.close()
        session.leave_other_interface()
        session.release()

    def _tapped(self, frame: bytes, outgoing: bool) -> None:
        assert self._tap is not None
        self._tap(frame, outgoing, self.link.name, self.link.ethernet, time.time())

    def fail(self, fault: NetkatError) -> None:
        """End every connection with an error, in whatever form it is used; for good."""
        with self._lock:
            if self.fault is not None:
                return
            self.fault = fault
        os.eventfd_write(self.fault_fd, 1)
        for session in self.sessions.all():
            session.endpoint.abort()

    def close_if_unused(self) -> None:
        """Of one that has failed: close it once no connection is left that its owner has open."""
        self._look_after_closing()
        if not self.sessions.all():
            self.close()

    def _look_after_closing(self) -> bool:
        """Release the connections that have ended; True while some have not."""
        for session in self.sessions.unbridged():
            self.retire(session)
        for session in self.sessions.ended():
            if self.sessions.take(session):
                self.drop(session)
        return self.sessions.closing
