"""Strategies for flows and packets out of few addresses and ports, so that many match by half."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import strategies as st

from netkat.flow import Flow, IPAddress, Protocol
from tests.helpers.filter_oracle import (
    EXTENSIONS,
    Arp,
    Arrival,
    Error,
    Neighbor,
    Segment,
    Spec,
)

TCP, UDP = Protocol.TCP, Protocol.UDP
ADDRESSES = {
    4: [ip_address(f"10.0.{a}.{b}") for a in (0, 1) for b in (1, 2)],
    6: [ip_address(f"fd00::{a}:{b}") for a in (0, 1) for b in (1, 2)],
}
PORTS = st.sampled_from([1, 80, 40000])
PROTOCOLS = st.sampled_from([TCP, UDP])


@st.composite
def flows_of(draw: st.DrawFn, version: int) -> Flow:
    addresses = st.sampled_from(ADDRESSES[version])
    local, remote = draw(addresses), draw(st.none() | addresses)
    remote_port = 0 if remote is None else draw(PORTS)
    return Flow(draw(PROTOCOLS), local, draw(PORTS), remote, remote_port)


def next_hops_of(flow: Flow) -> st.SearchStrategy[IPAddress | None]:
    """A flow's next hop has its IP version."""
    return st.none() | st.sampled_from(ADDRESSES[flow.version])


@st.composite
def flow_tables(draw: st.DrawFn, most: int = 6) -> dict[Flow, IPAddress | None]:
    """Flows of both versions with their next hops."""
    flows = draw(st.lists(flows_of(4) | flows_of(6), min_size=1, max_size=most, unique=True))
    return {flow: draw(next_hops_of(flow)) for flow in flows}


@st.composite
def segments(draw: st.DrawFn, version: int) -> Segment:
    addresses = st.sampled_from(ADDRESSES[version])
    fragmented = draw(st.booleans())
    return Segment(
        draw(addresses),
        draw(PORTS),
        draw(addresses),
        draw(PORTS),
        int(draw(PROTOCOLS)),
        draw(st.sampled_from([0, 8, 1480, 65528])) if fragmented else 0,
        fragmented,
        draw(st.sampled_from([b"", bytes(4), bytes(12)])) if version == 4 else b"",
        draw(st.sampled_from(EXTENSIONS[:4])) if version == 6 else (),
    )


@st.composite
def arrivals(draw: st.DrawFn, version: int) -> Arrival:
    addresses = st.sampled_from(ADDRESSES[version])
    spec: Spec
    match draw(st.sampled_from(["segment", "segment", "error", "neighbor"])):
        case "segment":
            spec = draw(segments(version))
        case "error":
            kind = draw(st.sampled_from([0, 1, 2, 3, 4, 5, 8, 11, 12, 128, 136]))
            spec = Error(draw(addresses), draw(addresses), kind, draw(segments(version)))
            if version == 6 and kind == 136:
                spec = Neighbor(136, spec.sender, spec.receiver, draw(addresses))
        case _ if version == 4:
            spec = Arp(draw(st.sampled_from([1, 2, 3])), draw(addresses), draw(addresses))
        case _:
            receivers = st.sampled_from([*ADDRESSES[6], ip_address("ff02::1")])
            kind = draw(st.sampled_from([135, 136]))
            spec = Neighbor(kind, draw(addresses), draw(receivers), draw(addresses))
    vlan = draw(st.sampled_from([None, None, 0, 7]))
    return Arrival(spec, draw(st.sampled_from([0, 0, 1, 3, 4])), vlan, draw(st.booleans()))
