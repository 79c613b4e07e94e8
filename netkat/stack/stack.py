"""One TCP/IP stack on one link."""

from __future__ import annotations

import warnings
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from netkat.stack.endpoint import Endpoint, packed
from netkat.stack.facts import (
    Observation,
    StackStatistics,
    read_observation,
    read_statistics,
)
from netkat.stack.ffi import CData, StackHandle, check, check_process, ffi, lib

if TYPE_CHECKING:
    from netkat.flow import Flow, IPAddress

IPNetwork = IPv4Network | IPv6Network
NO_MAC = bytes(6)


class Stack:
    """``mtu`` is the IP MTU in bytes; ``mac`` six bytes, or None on a link without Ethernet header.

    inject() is for one thread at a time and so is drain(); all else may be
    called from any. close() is idempotent and ends every endpoint.
    """

    def __init__(self, mtu: int, mac: bytes | None, *, gso: bool = True) -> None:
        check_process()
        link = ffi.new("gs_link *")
        link.mtu, link.mac = mtu, mac or NO_MAC
        link.ethernet, link.gso = int(mac is not None), int(gso)
        self._closed = True
        self._handle = StackHandle(check(lib.gs_stack_new(link)))
        self._closed = False
        self.outgoing_fd = check(lib.gs_outgoing_fd(self._handle))
        """Polls readable when frames wait and the last drain came back empty; read it, then drain."""

    def add_address(self, address: IPAddress) -> None:
        """Give the stack an address, alone in its prefix."""
        check(lib.gs_address_add(self._handle, address.version, packed(address)))

    def add_route(self, network: IPNetwork, gateway: IPAddress | None) -> None:
        """A route; without a gateway the network is on-link. The longest prefix wins."""
        via = ffi.NULL if gateway is None else packed(gateway)
        check(
            lib.gs_route_add(
                self._handle,
                network.version,
                packed(network.network_address),
                network.prefixlen,
                via,
            )
        )

    def add_neighbor(self, address: IPAddress, mac: bytes) -> None:
        """Fix a next hop's MAC: it is not asked for."""
        check(
            lib.gs_neighbor_add(
                self._handle, address.version, packed(address), ffi.from_buffer(mac)
            )
        )

    def arm(self, batch: CData, n: int) -> None:
        """Point a receive batch of n entries at the stack's own memory."""
        check(lib.gs_arm(self._handle, batch, n))

    def inject(self, batch: CData, n: int) -> None:
        """Hand over the first n frames of the armed batch."""
        check(lib.gs_inject(self._handle, batch, n))

    def drain(self, batch: CData, n: int) -> int:
        """Fill up to n entries of a send batch; valid until the next drain."""
        return check(lib.gs_drain(self._handle, batch, n))

    def connect(self, flow: Flow) -> Endpoint:
        """Begin a TCP connection, or open a connected UDP endpoint. Errors: StackError."""
        assert flow.remote is not None
        handle = lib.gs_connect(
            self._handle,
            flow.protocol,
            flow.version,
            packed(flow.local),
            flow.local_port,
            packed(flow.remote),
            flow.remote_port,
        )
        return Endpoint(check(handle), flow.version)

    def bind(self, flow: Flow) -> Endpoint:
        """Open a UDP endpoint without a peer. Errors: StackError."""
        handle = lib.gs_bind(self._handle, flow.version, packed(flow.local), flow.local_port)
        return Endpoint(check(handle), flow.version)

    def listen(self, flow: Flow, backlog: int) -> Endpoint:
        """Open a TCP listener. Errors: StackError."""
        handle = lib.gs_listen(
            self._handle, flow.version, packed(flow.local), flow.local_port, backlog
        )
        return Endpoint(check(handle), flow.version)

    def observe(self, flow: Flow) -> Observation:
        """What the wire showed of a flow; all zero where nothing was seen."""
        assert flow.remote is not None
        out = ffi.new("gs_observation *")
        check(
            lib.gs_observe(
                self._handle,
                flow.protocol,
                flow.version,
                packed(flow.local),
                flow.local_port,
                packed(flow.remote),
                flow.remote_port,
                out,
            )
        )
        return read_observation(out)

    def statistics(self) -> StackStatistics:
        """The stack's counters."""
        out = ffi.new("gs_statistics *")
        check(lib.gs_stack_statistics(self._handle, out))
        return read_statistics(out)

    def close(self) -> None:
        """End every endpoint and the stack; more than once is once."""
        if not self._closed:
            self._closed = True
            check_process()
            lib.gs_stack_close(self._handle)

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.close()

    def __repr__(self) -> str:
        return f"<netkat.stack.Stack {self._handle}{' closed' if self._closed else ''}>"
