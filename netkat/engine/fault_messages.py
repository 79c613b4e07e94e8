"""What the wire saw, put into words: a stack's error code becomes the fault that a person needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from netkat.errors import (
    ConnectionReset,
    EgressRefused,
    Hairpin,
    NetworkError,
    NextHopSilent,
    NoAnswer,
    Prohibited,
    Refused,
    TimedOut,
    TimeExceeded,
    Unreachable,
)
from netkat.flow import Flow, IPAddress, Protocol

if TYPE_CHECKING:
    from netkat.bpf.egress import EgressHooks
    from netkat.engine.path import Path
    from netkat.stack import Observation

ICMP4_UNREACHABLE, ICMP4_TIME_EXCEEDED = 3, 11
ICMP6_UNREACHABLE, ICMP6_TIME_EXCEEDED = 1, 3

# RFC 792, RFC 1812 (13 to 15), RFC 4443.
ICMP4_REASONS = {
    (3, 0): "network unreachable",
    (3, 1): "host unreachable",
    (3, 2): "protocol unreachable",
    (3, 3): "port unreachable",
    (3, 4): "fragmentation needed",
    (3, 5): "source route failed",
    (3, 6): "network unknown",
    (3, 7): "host unknown",
    (3, 9): "network administratively prohibited",
    (3, 10): "host administratively prohibited",
    (3, 13): "administratively prohibited",
    (11, 0): "TTL exceeded in transit",
    (11, 1): "fragment reassembly time exceeded",
    (12, 0): "parameter problem",
}
ICMP6_REASONS = {
    (1, 0): "no route to destination",
    (1, 1): "administratively prohibited",
    (1, 2): "beyond scope of source address",
    (1, 3): "address unreachable",
    (1, 4): "port unreachable",
    (1, 5): "source address failed ingress or egress policy",
    (1, 6): "reject route to destination",
    (2, 0): "packet too big",
    (3, 0): "hop limit exceeded in transit",
    (3, 1): "fragment reassembly time exceeded",
    (4, 0): "parameter problem",
}


class Evidence(NamedTuple):
    """All that is known of one flow when its fault is named."""

    flow: Flow
    path: Path
    seen: Observation
    refused_frames: int
    """Frames that the kernel would not send (ENOBUFS), on the whole wire since the flow began."""
    egress_hooks: Callable[[], EgressHooks]
    """What stands at the interface's egress; asked where frames were refused alone."""
    waited: float | None = None
    """Seconds waited for an answer; None where the wait was the stack's own."""

    @property
    def next_hop(self) -> IPAddress | None:
        """Where the flow's frames were sent; the plan's next hop before the first."""
        return self.seen.next_hop or self.path.next_hop


def icmp_reason(version: int, icmp_type: int, icmp_code: int) -> str:
    """The name of an ICMP (4) or ICMPv6 (6) error; its numbers where it has none."""
    reasons = ICMP4_REASONS if version == 4 else ICMP6_REASONS
    return reasons.get((icmp_type, icmp_code), f"type {icmp_type} code {icmp_code}")


def refused(evidence: Evidence) -> NetworkError:
    """Return the error for a refusal sent by the peer, or by another host in its place."""
    seen = evidence.seen
    if seen.resets:
        return Refused(
            f"Connection refused [RST from {evidence.flow.remote} ttl {seen.reset_ttl}]",
            by="RST",
            sender=evidence.flow.remote,
            ttl=seen.reset_ttl,
        )
    if seen.icmp_errors:
        reason = icmp_reason(seen.icmp_version, seen.icmp_type, seen.icmp_code)
        return Refused(
            f"Connection refused [ICMP {reason} from {seen.icmp_sender} ttl {seen.icmp_ttl}]",
            by=f"ICMP {reason}",
            sender=seen.icmp_sender,
            ttl=seen.icmp_ttl,
        )
    return Refused("Connection refused")


def unreachable(evidence: Evidence) -> NetworkError:
    """An ICMP error about one of our packets."""
    seen = evidence.seen
    if not seen.icmp_errors:
        return no_answer(evidence)
    reason = icmp_reason(seen.icmp_version, seen.icmp_type, seen.icmp_code)
    if reason == "port unreachable":
        return refused(evidence)
    return _icmp(seen.icmp_version, seen.icmp_type, seen.icmp_code, seen.icmp_sender, seen.icmp_ttl)


def icmp_fault(
    version: int, icmp_type: int, icmp_code: int, sender: IPAddress | None
) -> NetworkError:
    """Return the error for an ICMP message without its TTL, as in a kernel socket's error queue."""
    reason = icmp_reason(version, icmp_type, icmp_code)
    if reason == "port unreachable":
        message = f"Connection refused [ICMP {reason} from {sender}]"
        return Refused(message, by=f"ICMP {reason}", sender=sender)
    return _icmp(version, icmp_type, icmp_code, sender, None)


def _icmp(
    version: int, icmp_type: int, icmp_code: int, sender: IPAddress | None, ttl: int | None
) -> Unreachable:
    reason = icmp_reason(version, icmp_type, icmp_code)
    kind = _kind(version, icmp_type, reason)
    seen_ttl = "" if ttl is None else f" ttl {ttl}"
    return kind(
        f"{_HEADLINES[kind]} [ICMP {reason} from {sender}{seen_ttl}]",
        reason=reason,
        icmp_type=icmp_type,
        icmp_code=icmp_code,
        sender=sender,
        ttl=ttl,
        hint=_unreachable_hint(kind, sender),
    )


def no_answer(evidence: Evidence) -> NetworkError:
    """Nothing came back in time: the most telling of the reasons that were seen."""
    seen, flow = evidence.seen, evidence.flow
    what = "SYN" if flow.protocol is Protocol.TCP else "datagram"
    count = f"{seen.syns_sent} {what}{'' if seen.syns_sent == 1 else 's'}"
    timed_out = "timed out"
    if evidence.waited is not None:
        timed_out = f"timed out after {evidence.waited:g} s"
    if seen.hairpins:
        mac = seen.hairpin_mac.hex(":")
        return Hairpin(
            f"{timed_out} [hairpin: our own {what} came back in from {mac} ttl {seen.hairpin_ttl}]",
            sent=seen.syns_sent,
            next_hop=evidence.next_hop,
            sender_mac=seen.hairpin_mac,
            ttl=seen.hairpin_ttl,
            hint="this host was chosen as the backend of its own packet, and drops it as a martian:"
            " ask from another host, or --via another node",
        )
    if evidence.refused_frames and not seen.frames_received:
        return egress_refused(evidence)
    if not seen.syns_sent and seen.neighbor_requests and not seen.neighbor_replies:
        return next_hop_silent(evidence)
    if seen.icmp_errors:
        return unreachable(evidence)
    if seen.far_frames:
        packets = "1 packet" if seen.far_frames == 1 else f"{seen.far_frames} packets"
        return NoAnswer(
            f"{timed_out} [{packets} of {flow.remote} came with ttl {seen.far_ttl}: too low]",
            sent=seen.syns_sent,
            next_hop=evidence.next_hop,
            hint="-m, or Options.min_ttl, takes no packet with a lower TTL than it says",
        )
    return NoAnswer(
        f"{timed_out} [no reply to {count}]",
        sent=seen.syns_sent,
        next_hop=evidence.next_hop,
        hint=_where_frames_went(evidence),
    )


def unanswered(evidence: Evidence) -> NetworkError | None:
    """Why datagrams had no answer; None where silence is all that is known.

    Silence is no fault with UDP: a peer need not answer.
    """
    fault = no_answer(evidence)
    return fault if type(fault) is not NoAnswer else None


def egress_refused(evidence: Evidence) -> NetworkError:
    """Return the error for frames dropped on egress, with the hooks that were found."""
    name, hooks = evidence.path.link.name, evidence.egress_hooks()
    if hooks.found:
        where = f"{', '.join(hooks.found)} on {name}'s egress"
    elif hooks.unseen:
        where = f"ENOBUFS; {' and '.join(hooks.unseen)} cannot be looked at without CAP_NET_ADMIN"
    else:
        where = "ENOBUFS, and no hook is there: its qdisc"
    look = f"tc -s qdisc show dev {name}; tc filter show dev {name} egress; bpftool net; nft list"
    return EgressRefused(
        f"the kernel threw away {evidence.refused_frames} of our frames on the way out of {name}"
        f" [{where}]",
        hook=", ".join(hooks.found) or None,
        unseen=hooks.unseen,
        count=evidence.refused_frames,
        hint=f"take it away, or have it pass netkat's frames: {look} hooks",
    )


def next_hop_silent(evidence: Evidence) -> NetworkError:
    """Return the error for a next hop that did not answer ARP or neighbour discovery."""
    path, seen = evidence.path, evidence.seen
    if evidence.refused_frames and not seen.neighbor_replies:
        return egress_refused(evidence)
    hop = evidence.next_hop
    version = evidence.flow.version if hop is None else hop.version
    question = "ARP" if version == 4 else "neighbour discovery"
    return NextHopSilent(
        f"No route to host [next hop {hop} on {path.link.name} did not answer {question}"
        f", asked {seen.neighbor_requests} times]",
        next_hop=hop,
        interface=path.link.name,
        asked=seen.neighbor_requests,
        hint=f"look at the address, the VLAN and the cable: ip neigh show dev {path.link.name}",
    )


def reset(evidence: Evidence, *, received: int, sent: int) -> NetworkError:
    """RST on an open connection."""
    ttl = f" ttl {evidence.seen.reset_ttl}" if evidence.seen.resets else ""
    return ConnectionReset(
        f"Connection reset by peer [RST from {evidence.flow.remote}{ttl}, after {received} bytes"
        f" received and {sent} sent]",
        received=received,
        sent=sent,
    )


def gave_up(evidence: Evidence) -> NetworkError:
    """The stack stopped retransmitting on an open connection."""
    if evidence.refused_frames:
        return egress_refused(evidence)
    if evidence.seen.icmp_errors:
        return unreachable(evidence)
    return TimedOut(
        f"Connection timed out [{evidence.flow.remote} stopped acknowledging]",
        hint="the peer or the path went away while the connection was open",
    )


_HEADLINES = {
    Unreachable: "No route to host",
    Prohibited: "Administratively prohibited",
    TimeExceeded: "TTL exceeded",
}


def _kind(version: int, icmp_type: int, reason: str) -> type[Unreachable]:
    time_exceeded = ICMP4_TIME_EXCEEDED if version == 4 else ICMP6_TIME_EXCEEDED
    if icmp_type == time_exceeded:
        return TimeExceeded
    return Prohibited if "prohibited" in reason or "policy" in reason else Unreachable


def _unreachable_hint(kind: type[Unreachable], sender: IPAddress | None) -> str:
    if kind is TimeExceeded:
        return f"the packet went round in circles: look at the routes of {sender}"
    if kind is Prohibited:
        return f"a firewall rule at {sender} says no: look at its rules"
    return f"ask at {sender}: its routes, its neighbours, its firewall"


def _where_frames_went(evidence: Evidence) -> str | None:
    mac, name = evidence.seen.next_hop_mac, evidence.path.link.name
    if mac is None:
        return None
    hop = mac.hex(":")
    if evidence.next_hop is not None:
        hop = f"{evidence.next_hop} ({hop})"
    return f"the frames were sent to next hop {hop} on {name}: the loss is at it or behind it"
