"""What the socket filters should accept, written a second time: over the description that a
packet is made from, not over its bytes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from netkat.flow import Flow, IPAddress
from tests.helpers.cbpf_machine import Frame
from tests.helpers.packets import (
    ARP,
    ICMP,
    ICMPV6,
    IPV4,
    IPV6,
    arp,
    ethernet,
    fragment_header,
    icmp,
    ipv4,
    ipv6_extended,
    neighbor,
    options_header,
    routing_header,
    transport,
)

Header = tuple[int, bytes]
Hops = Mapping[Flow, IPAddress | None]
"""Flows and their next hops."""
V4_ERRORS, V6_ERRORS = {3, 4, 11, 12}, {1, 2, 3, 4}


@dataclass(frozen=True)
class Segment:
    """A TCP segment or UDP datagram, whole or a fragment."""

    source: IPAddress
    source_port: int
    destination: IPAddress
    destination_port: int
    protocol: int
    offset: int = 0
    fragmented: bool = False
    options: bytes = b""
    headers: tuple[Header, ...] = ()

    def packet(self) -> bytes:
        body = transport(self.protocol, self.source_port, self.destination_port)
        if self.source.version == 4:
            return ipv4(
                self.source,
                self.destination,
                self.protocol,
                body,
                offset=self.offset,
                more=int(self.fragmented),
                options=self.options,
            )
        headers = list(self.headers)
        if self.fragmented:
            headers.append(fragment_header(self.offset, more=1))
        return ipv6_extended(self.source, self.destination, headers, self.protocol, body)

    def of(self, flow: Flow, *, reverse: bool) -> bool:
        """Is it the flow's: what it sends (reverse False) or what it gets?"""
        ours, theirs = (self.source, self.source_port), (self.destination, self.destination_port)
        if reverse:
            ours, theirs = theirs, ours
        return (
            self.protocol == flow.protocol
            and ours == (flow.local, flow.local_port)
            and flow.remote in (None, theirs[0])
            and flow.remote_port in (0, theirs[1])
        )

    def may_be_sent(self) -> bool:
        """Whether netkat may have sent it: with a fragment header at most."""
        version = self.source.version
        return version == 4 or len(self.headers) + self.fragmented <= 1

    def wanted(self, flows: Collection[Flow]) -> bool:
        if self.offset:
            return any(
                flow.protocol == self.protocol
                and flow.local == self.destination
                and flow.remote in (None, self.source)
                for flow in flows
            )
        return any(
            self.of(flow, reverse=True)
            or (self.destination not in {f.local for f in flows} and self.of(flow, reverse=False))
            for flow in flows
        )


@dataclass(frozen=True)
class Error:
    """An ICMP error that quotes a segment."""

    sender: IPAddress
    receiver: IPAddress
    kind: int
    quoted: Segment
    options: bytes = b""
    headers: tuple[Header, ...] = ()

    def packet(self) -> bytes:
        quoted = self.quoted.packet()
        if self.sender.version == 4:
            body = icmp(self.kind, 1, quoted[:60])
            return ipv4(self.sender, self.receiver, ICMP, body, options=self.options)
        body = icmp(self.kind, 0, quoted)
        return ipv6_extended(self.sender, self.receiver, list(self.headers), ICMPV6, body)

    def wanted(self, flows: Collection[Flow]) -> bool:
        errors = V4_ERRORS if self.sender.version == 4 else V6_ERRORS
        return (
            self.kind in errors
            and not self.quoted.offset
            and self.quoted.may_be_sent()
            and any(self.quoted.of(flow, reverse=False) for flow in flows)
        )


def of_version(
    flows: Hops, version: int, ethernet: bool
) -> tuple[set[IPAddress], set[IPAddress | None], bool]:
    """Local addresses, next hops, and whether any host may be a next hop."""
    same = {flow: hop for flow, hop in flows.items() if flow.version == version}
    local = {flow.local for flow in same}
    if not ethernet:
        return local, set(), False
    connected = {hop for flow, hop in same.items() if not flow.any_peer}
    return local, connected - {None}, any(flow.any_peer for flow in same)


@dataclass(frozen=True)
class Arp:
    oper: int
    sender: IPAddress
    target: IPAddress

    def wanted(self, flows: Hops, ethernet: bool) -> bool:
        local, hops, any_hop = of_version(flows, 4, ethernet)
        if self.oper not in (1, 2):
            return False
        if self.sender in hops or (self.oper == 1 and self.target in local):
            return True
        return any_hop and (self.oper == 2 or self.sender == self.target)


@dataclass(frozen=True)
class Neighbor:
    kind: int
    sender: IPAddress
    receiver: IPAddress
    target: IPAddress

    def wanted(self, flows: Hops, ethernet: bool) -> bool:
        local, hops, any_hop = of_version(flows, 6, ethernet)
        if self.kind == 135:
            return self.target in local
        return self.kind == 136 and (any_hop or self.target in hops)


Spec = Segment | Error | Arp | Neighbor


@dataclass(frozen=True)
class Arrival:
    """A packet with what the kernel tells beside it."""

    spec: Spec
    packet_type: int = 0
    vlan: int | None = None
    header: bool = field(default=True)

    def frame(self) -> Frame:
        match self.spec:
            case Arp(oper, sender, target):
                data, protocol = arp(oper, sender, target), ARP
            case Neighbor(kind, sender, receiver, target):
                data = ipv6_extended(sender, receiver, [], ICMPV6, neighbor(kind, target))
                protocol = IPV6
            case Segment(source=address) | Error(sender=address):
                data = self.spec.packet()
                protocol = IPV4 if address.version == 4 else IPV6
        if self.header:
            data = ethernet(data, protocol)
        network = 14 if self.header else 0
        return Frame(data, protocol, self.packet_type, self.vlan, network)

    def wanted(self, flows: Hops) -> bool:
        if self.packet_type > 2 or (self.vlan or 0) & 0xFFF:
            return False
        if isinstance(self.spec, Arp | Neighbor):
            return self.spec.wanted(flows, self.header)
        return self.spec.wanted(flows)


def answer(flow: Flow, *, remote: str | None = None, port: int | None = None) -> Segment:
    """A segment that the flow gets, from its peer or from the one named here."""
    address = flow.remote if remote is None else ip_address(remote)
    assert address is not None
    number = flow.remote_port if port is None else port
    return Segment(address, number, flow.local, flow.local_port, int(flow.protocol))


def turned(segment: Segment) -> Segment:
    """The same segment going the other way."""
    return replace(
        segment,
        source=segment.destination,
        source_port=segment.destination_port,
        destination=segment.source,
        destination_port=segment.source_port,
    )


EXTENSIONS: tuple[tuple[Header, ...], ...] = (
    (),
    (options_header(0),),
    (options_header(60, 2),),
    (options_header(0, 1), options_header(60), routing_header(0, 3)),
    (fragment_header(0, more=1),),
    (options_header(0), routing_header(0), fragment_header(0, more=1), options_header(60)),
    tuple(options_header(60) for _ in range(6)),
)
"""Chains that the filters skip; they do not skip one more header."""
