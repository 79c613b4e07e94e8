"""One TCP/IP stack on one link: frames go in and out in batches, endpoints are made on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING
from typing import Protocol as Shape

from netkat.flow import Protocol
from netkat.stack import facts
from netkat.stack.codes import check, fault
from netkat.stack.endpoint import Endpoint
from netkat.stack.ffi import CData, EndpointHandle, StackHandle, load
from netkat.stack.handle import Owner
from netkat.stack.stack_path import write_path, write_routes

if TYPE_CHECKING:
    from netkat.flow import Flow, IPAddress
    from netkat.stack.endpoint import Option
    from netkat.stack.ffi import Ffi
    from netkat.stack.stack_path import RouteEntry, StackPath

BACKLOG = 128
"""Connections that may wait to be accepted; the kernel's own default was the same (SOMAXCONN)."""


WAIT_ONCE = 1
"""gostack.h's GS_WAIT_ONCE."""


class Batch(Shape):
    """What a batch of the wire's is to the stack."""

    pointer: CData
    capacity: int


class Stack(Owner[StackHandle]):
    """A stack of its own. Making the first one loads the library.

    arm() and inject() are for one thread at a time, and so is drain()
    (gostack.h); all else may be called from any. close() ends every endpoint.
    Errors: LibraryMissing, LibraryMismatch.
    """

    def __init__(self, mtu: int, mac: bytes | None, gso: bool = True) -> None:
        """``mtu`` in bytes of IP; ``mac`` None is a link without Ethernet header.

        With ``gso`` frames of up to 64 KiB leave, for the kernel or the card to cut.
        """
        loaded = load()
        self._gso = gso
        link = _link(loaded.ffi, mtu, mac, gso)
        handle = StackHandle(check(loaded.calls.gs_stack_new(link)))
        super().__init__(loaded, handle)
        self.outgoing_fd = check(self._lib.gs_outgoing_fd(handle))
        """Polls readable when frames wait and the last drain came back empty. Read it, then
        drain until it is empty again. The stack's own: do not close it."""
        self.bridges_fd = check(self._lib.gs_bridges_fd(handle))
        """Polls readable when a bridge has ended. Read it. The stack's own: do not close it."""

    @property
    def handle(self) -> StackHandle:
        """The library's number for the stack; 0 once it is closed."""
        return self._handle

    def set_link(self, mtu: int, mac: bytes | None) -> None:
        """Change the link's MTU and MAC. Connections go on with both.

        Errors: StackError (INVALID) where the link would get, or lose, its Ethernet header.
        """
        check(self._lib.gs_link_set(self._handle, _link(self._ffi, mtu, mac, self._gso)))

    def add_address(self, address: IPAddress, *, assigned: bool = False) -> None:
        """Add an address, alone in its prefix; idempotent.

        ``assigned``: the kernel has it on this interface. A neighbour that asks for its MAC twice
        is answered: rules of the host keep the kernel from it. The last call decides.
        """
        raw = facts.packed(address)
        check(self._lib.gs_address_add(self._handle, address.version, raw, assigned))

    def remove_address(self, address: IPAddress) -> None:
        """Send nothing from an address and receive nothing for it until it is added again.

        Endpoints on it stay open. Idempotent.
        """
        raw = facts.packed(address)
        check(self._lib.gs_address_remove(self._handle, address.version, raw))

    def claim_address(self, address: IPAddress) -> None:
        """An address that the kernel does not have: the stack answers who asks for its MAC."""
        check(self._lib.gs_address_claim(self._handle, address.version, facts.packed(address)))

    def add_route(
        self,
        destination: IPAddress | IPv4Network | IPv6Network,
        gateway: IPAddress | None = None,
    ) -> None:
        """Add a route; without a gateway the destination is on-link. The longest prefix wins.

        Routes decide for flows without a StackPath: those of a listener, and of a UDP endpoint
        without a peer.
        """
        if isinstance(destination, IPv4Network | IPv6Network):
            network: IPAddress = destination.network_address
            length = destination.prefixlen
        else:
            network, length = destination, destination.max_prefixlen
        hop = self._ffi.NULL if gateway is None else facts.packed(gateway)
        raw = facts.packed(network)
        check(self._lib.gs_route_add(self._handle, network.version, raw, length, hop))

    def set_routes(self, table: Iterable[RouteEntry]) -> None:
        """Replace all routes at once, also for connections that are open.

        Each is a network and its gateway (None: on-link).
        """
        raw, count = write_routes(self._ffi, table)
        check(self._lib.gs_routes_set(self._handle, raw, count))

    def add_neighbor(self, address: IPAddress, mac: bytes) -> None:
        """Fix a next hop's MAC: it is never asked for."""
        raw = facts.packed(address)
        check(self._lib.gs_neighbor_add(self._handle, address.version, raw, mac))

    def forget_neighbor(self, address: IPAddress) -> None:
        """Forget a next hop's MAC, fixed or learned: the next packet has it resolved."""
        raw = facts.packed(address)
        check(self._lib.gs_neighbor_remove(self._handle, address.version, raw))

    def answer_where_it_came_from(self) -> None:
        """Send each packet to the MAC that its receiver's own packets came from, not by route.

        Before the first inject().
        """
        check(self._lib.gs_answer_where_it_came_from(self._handle))

    def set_option(self, option: Option, value: int) -> None:
        """An option of every endpoint opened from now on, in force before its first segment.

        A value that makes no sense is found when one is opened: StackError (INVALID).
        """
        check(self._lib.gs_option_set(self._handle, option, value))

    def set_options(self, values: Mapping[Option, int]) -> None:
        """Several of them."""
        for option, value in values.items():
            self.set_option(option, value)

    def arm(self, pointer: CData, n: int) -> None:
        """Lend memory to the first ``n`` entries of a ReceiveBatch; once, before any inject."""
        check(self._lib.gs_arm(self._handle, pointer, n))

    def inject(self, pointer: CData, n: int) -> int:
        """Hand the first ``n`` frames of the armed batch to the stack."""
        return check(self._lib.gs_inject(self._handle, pointer, n))

    def drain(self, pointer: CData, n: int) -> int:
        """Fill up to ``n`` entries of a SendBatch: how many. Valid until the next drain."""
        return check(self._lib.gs_drain(self._handle, pointer, n))

    def attach(self, descriptor: int, incoming: Batch, outgoing: Batch, tally: CData) -> None:
        """Have the stack move its own frames on a packet socket that does not block.

        flush(), wait() and reside() do it, on the thread that calls; arm(), inject() and
        drain() are not for such a stack. Batches and tally (gostack.h, GS_TALLY) are the
        stack's until detach().
        """
        check(
            self._lib.gs_attach(
                self._handle,
                descriptor,
                incoming.pointer,
                incoming.capacity,
                outgoing.pointer,
                outgoing.capacity,
                tally,
            )
        )

    def detach(self) -> None:
        """Once it returns, the socket and the batches are no longer in use."""
        check(self._lib.gs_detach(self._handle))

    def flush(self) -> None:
        """Send what waits. Errors: WireFailed."""
        result = self._lib.gs_flush(self._handle)
        if result < 0:
            raise fault(result)

    def wait(
        self, descriptors: Sequence[int], milliseconds: int = -1, *, once: bool = False
    ) -> set[int]:
        """Move frames until one of at most four descriptors polls readable: those that do.

        None of them: the time is over (negative: there is no limit). Errors: BlockingIOError
        when a signal came in between, or with ``once`` frames; WireFailed.
        """
        raw = self._ffi.new("int32_t[]", descriptors)
        flags = WAIT_ONCE if once else 0
        bits = self._lib.gs_wait(self._handle, raw, len(descriptors), milliseconds, flags)
        return _chosen(descriptors, bits)

    def reside(self, descriptors: Sequence[int], milliseconds: int = -1) -> set[int]:
        """As wait, for the one thread that does nothing else: see gostack.h, gs_reside."""
        raw = self._ffi.new("int32_t[]", descriptors)
        bits = self._lib.gs_reside(self._handle, raw, len(descriptors), milliseconds)
        return _chosen(descriptors, bits)

    def connect(self, flow: Flow, path: StackPath | None = None) -> Endpoint:
        """Start a TCP connect (connect_result() has its end), or open a connected UDP endpoint.

        Without a ``path`` the routes decide. TCP's MSS option follows the path's MTU.
        """
        assert flow.remote is not None, "a flow with a peer"
        local, remote = facts.packed(flow.local), facts.packed(flow.remote)
        result = self._lib.gs_connect(
            self._handle,
            flow.protocol,
            flow.version,
            local,
            flow.local_port,
            remote,
            flow.remote_port,
            write_path(self._ffi, path),
        )
        return self._endpoint(flow, result)

    def bind(self, flow: Flow) -> Endpoint:
        """A UDP endpoint without a peer."""
        assert flow.protocol is Protocol.UDP
        local = facts.packed(flow.local)
        result = self._lib.gs_bind(self._handle, flow.version, local, flow.local_port)
        return self._endpoint(flow, result)

    def listen(self, flow: Flow, backlog: int = BACKLOG) -> Endpoint:
        """A TCP listener."""
        assert flow.protocol is Protocol.TCP
        local = facts.packed(flow.local)
        result = self._lib.gs_listen(self._handle, flow.version, local, flow.local_port, backlog)
        return self._endpoint(flow, result)

    def observe(self, flow: Flow) -> facts.Observation:
        """What the wire showed of a flow with a peer; all zero where nothing was seen."""
        assert flow.remote is not None, "a flow with a peer"
        raw = self._ffi.new("gs_observation *")
        local, remote = facts.packed(flow.local), facts.packed(flow.remote)
        check(
            self._lib.gs_observe(
                self._handle,
                flow.protocol,
                flow.version,
                local,
                flow.local_port,
                remote,
                flow.remote_port,
                raw,
            )
        )
        return facts.read_observation(raw)

    def statistics(self) -> facts.StackStatistics:
        """Counters so far."""
        raw = self._ffi.new("gs_statistics *")
        check(self._lib.gs_stack_statistics(self._handle, raw))
        return facts.read_statistics(raw)

    def _endpoint(self, flow: Flow, result: int) -> Endpoint:
        return Endpoint(self._loaded, EndpointHandle(check(result)), flow.version)

    def _let_go(self, handle: StackHandle) -> None:
        self._lib.gs_stack_close(handle)


def _link(ffi: Ffi, mtu: int, mac: bytes | None, gso: bool) -> CData:
    link = ffi.new("gs_link *")
    link.mtu, link.ethernet, link.gso = mtu, mac is not None, gso
    link.mac = mac or bytes(6)
    return link


def _chosen(descriptors: Sequence[int], bits: int) -> set[int]:
    if bits < 0:
        raise fault(bits)
    return {one for i, one in enumerate(descriptors) if bits >> i & 1}
