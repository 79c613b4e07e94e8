"""What was observed, before anything is concluded: frozen records that JSON can hold.

Addresses are strings and interfaces are names, so that recorded evidence reads like a log.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import dataclass
from typing import Any, TypeVar, Union

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """What was asked about. ``host`` is the word that was given, ``address`` what it means."""

    host: str
    address: str
    port: int
    protocol: str

    @property
    def end(self) -> str:
        """ADDRESS:PORT."""
        return endpoint(self.address, self.port)


@dataclass(frozen=True, slots=True)
class Frames:
    """Equal packets of the probe, seen on one interface. ``sent``: they left this host."""

    interface: str
    sent: bool
    mac: str
    """The other end's MAC: destination where sent, source where received; "" on bare IP links."""
    source: str
    source_port: int
    destination: str
    destination_port: int
    flags: str
    """TCP flags by their letters ("S", "SA", "R"); "" for UDP; "icmp TYPE CODE" for errors."""
    ttl: int
    count: int = 1


@dataclass(frozen=True, slots=True)
class Step:
    """One rule or policy that a packet met. ``hook`` is "" where the chain's is unknown."""

    packet: int
    hook: str
    table: str
    base: str
    """The base chain that led here."""
    chain: str
    kind: str
    """"rule" or "policy"."""
    verdict: str
    jump: str = ""
    text: str = ""
    comment: str = ""
    rejects: bool = False
    translates: bool = False
    own: bool = False
    """A rule of the table that netkat made for this probe."""
    source: str = ""
    source_port: int = 0
    destination: str = ""
    destination_port: int = 0
    flags: str = ""
    iif: str = ""
    oif: str = ""

    @property
    def stops(self) -> bool:
        """The packet ended here."""
        return self.verdict in ("drop", "stolen", "queue")

    @property
    def reply(self) -> bool:
        """A TCP answer: SYN-ACK or RST."""
        return "A" in self.flags or "R" in self.flags


@dataclass(frozen=True, slots=True)
class Probe:
    """One attempt. ``outcome`` is a token: connected, refused, rejected, no_answer, unreachable,
    hairpin, next_hop_silent, egress_refused, own_address, not_permitted, not_run, failed.
    """

    outcome: str
    seconds: float = 0.0
    source: str = ""
    source_port: int = 0
    sent: int = 0
    peer: str = ""
    """The kernel socket's real peer (sock_diag), ADDRESS:PORT; "" where unknown."""
    reported_peer: str = ""
    """What getpeername() says, which a cgroup program may rewrite."""
    sender: str = ""
    """Who sent the RST or ICMP error; "" where it was this host."""
    reason: str = ""
    next_hop: str = ""

    @property
    def works(self) -> bool:
        """The peer answered."""
        return self.outcome == "connected"


@dataclass(frozen=True, slots=True)
class Connection:
    """A conntrack entry: how the client addressed it, and where NAT leads it."""

    source: str
    destination: str
    reply_source: str
    reply_destination: str
    replied: bool = False
    packets: int = 0
    reply_packets: int = 0

    @property
    def destination_translated(self) -> bool:
        """DNAT."""
        return self.reply_source != self.destination

    @property
    def source_translated(self) -> bool:
        """SNAT."""
        return self.reply_destination != self.source


@dataclass(frozen=True, slots=True)
class LegacyRule:
    """A rule of iptables-legacy whose counter moved during the probe."""

    table: str
    chain: str
    text: str
    comment: str
    target: str
    packets: int


@dataclass(frozen=True, slots=True)
class Service:
    """What kube-proxy's rules say of the target, by look-up."""

    mode: str = ""
    """"nftables", "iptables-nft" or "iptables-legacy"; "" where kube-proxy has no rules here."""
    running: bool = False
    """A process kube-proxy runs on this host."""
    name: str = ""
    """NAMESPACE/NAME; "" where no rule is for the target."""
    port: str = ""
    kind: str = ""
    """"cluster_ip", "external" or "node_port"."""
    endpoints: tuple[str, ...] = ()
    no_endpoints: str = ""
    """"drop" or "reject" where the rules say that there is no (local) endpoint."""
    source_ranges: bool = False
    cluster_ip: bool = False
    """The address is a ClusterIP, whether or not it has this port."""


@dataclass(frozen=True, slots=True)
class Host:
    """Facts of this host that decide over the probe's packets."""

    name: str = ""
    interface: str = ""
    interface_kind: str = ""
    source: str = ""
    gateway: str = ""
    table: int = 0
    route_kind: str = ""
    route_error: str = ""
    specific_route: bool = False
    """The route is none of the default ones."""
    next_hop_mac: str = ""
    next_hop_state: str = ""
    local: bool = False
    """The target is an address of this host."""
    local_interface: str = ""
    """The interface that holds it, where it is local."""
    ip_forward: bool = True
    rp_filter: int = 0
    """The stricter of all and the interface's: 0 off, 1 strict, 2 loose."""
    reverse_interface: str = ""
    """Where the route back to the client leads (--incoming)."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of one run. ``client`` is the address that the result speaks for."""

    target: Target
    client: str
    client_kind: str
    """"node address", "claimed address", "external client" or "pod address"."""
    incoming: bool = False
    read_only: bool = False
    waited: bool = False
    """--wait: the packet was a real client's, and nothing of it was stopped by netkat."""
    host: Host = Host()
    kernel: Probe = Probe("not_run")
    bypass: Probe = Probe("not_run")
    steps: tuple[Step, ...] = ()
    frames: tuple[Frames, ...] = ()
    connection: Connection | None = None
    stale: tuple[Connection, ...] = ()
    service: Service = Service()
    legacy: tuple[LegacyRule, ...] = ()
    drops: tuple[str, ...] = ()
    cgroup_programs: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    """tc, tcx and nft netdev hooks on the interface's egress."""
    counters: dict[str, int] = dataclasses.field(default_factory=dict)
    runs: tuple[str, ...] = ()
    """With --count: "KERNEL/BYPASS" outcomes of each run."""
    rules_changed: bool = False
    unchecked: tuple[str, ...] = ()
    """What could not be observed, and why."""
    notes: tuple[str, ...] = ()
    """What was done for it, for -v."""

    def to_json(self) -> str:
        """As one JSON object."""
        return json.dumps(dataclasses.asdict(self))


def from_json(text: str) -> Evidence:
    """What to_json() wrote. Errors: ValueError, TypeError."""
    return _build(Evidence, json.loads(text))


def endpoint(address: str, port: int) -> str:
    """ADDRESS:PORT, with brackets where IPv6 needs them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _build(kind: type[T], value: dict[str, Any]) -> T:
    hints = typing.get_type_hints(kind)
    return kind(**{name: _convert(hints[name], each) for name, each in value.items()})


def _convert(hint: Any, value: Any) -> Any:
    if typing.get_origin(hint) in (Union, types.UnionType):
        inner = next(each for each in typing.get_args(hint) if each is not type(None))
        return None if value is None else _convert(inner, value)
    if typing.get_origin(hint) is tuple:
        (inner, _) = typing.get_args(hint)
        return tuple(_convert(inner, each) for each in value)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _build(hint, value)
    return value
