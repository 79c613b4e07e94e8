"""Everything that watches the sender's probes: opened before the first packet, read after the last.

What cannot be opened here is named in ``unchecked``; the rest goes on without it.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from typing import TypeVar

from netkat.bpf.cgroup_programs import effective_programs, own_cgroup
from netkat.bpf.egress import egress_hooks
from netkat.diagnose.why import conntrack, kube_proxy, legacy
from netkat.diagnose.why.evidence import Connection, Evidence, Host, LegacyRule, Service, Step
from netkat.diagnose.why.evidence import endpoint as end
from netkat.diagnose.why.kernel_probe import KernelProbe
from netkat.diagnose.why.nft import build, uapi
from netkat.diagnose.why.nft.lookup import RuleSet
from netkat.diagnose.why.nft.owned_table import Chain, OwnedTable
from netkat.diagnose.why.nft.trace import TraceEvent, TraceSocket
from netkat.diagnose.why.packets import PacketSocket
from netkat.diagnose.why.request import Request
from netkat.diagnose.why.steps import StepReader
from netkat.errors import SetupError
from netkat.flow import IPAddress
from netkat.host.conntrack import ConntrackTuple
from netkat.netlink import NetlinkError
from netkat.resources import Closeable

T = TypeVar("T", bound=Closeable)

FIRST = -310
"""Before every table of the host: raw is at -300."""
_AFTER_NAT = 310
SETTLE = 0.005
"""Seconds without an event after which no more trace events are expected."""


class Observers:
    """Made, read and closed in the probe's network namespace."""

    def __init__(self, request: Request, host: Host, open_now: ExitStack) -> None:
        self._request, self._host = request, host
        self._open_now = open_now
        self._unchecked: list[str] = []
        self._notes: list[str] = []
        self._heard: list[TraceEvent] = []
        self._rules = open_now.enter_context(RuleSet())
        self.probe = open_now.enter_context(
            KernelProbe(
                request.protocol, request.address, request.port, partial(_is_fresh, request, host)
            )
        )
        port = self.probe.port
        self._packets = self._opened(
            "packets", lambda: PacketSocket(request.protocol, request.address, port)
        )
        self._events = self._opened("rule traces", TraceSocket)
        self._legacy = legacy.snapshot_or_note(self._request.address.version, self._unchecked)
        self._statistics = conntrack.statistics()
        self._table: OwnedTable | None = None
        if not request.read_only and self._events is not None:
            chains = _tracing_chains(request.protocol, port)
            self._table = self._opened("rule traces", lambda: OwnedTable(chains))
        if self._table is not None:
            self._notes.append(f"made nftables table inet {self._table.name} for the probe")
        # The own batch counts as a change, so this follows it.
        self._generation = self._current_generation()

    def dropped_silently(self) -> bool:
        """Whether a rule has dropped the kernel's packet: waiting for an answer is of no use."""
        return any(step.stops and not step.rejects for step in self._steps())

    def complete(self, evidence: Evidence) -> Evidence:
        """The evidence with all that was observed."""
        changed = self._current_generation() != self._generation
        steps = self._steps()
        if self._events is not None and self._events.lost:
            self._unchecked.append("rule traces: the kernel's queue overflowed")
        moved = self._moved_rules()
        service = kube_proxy.service(
            self._rules,
            self._request,
            self._unchecked,
            local=self._host.local,
            steps=steps,
            moved=moved,
        )
        return replace(
            evidence,
            steps=steps,
            frames=() if self._packets is None else self._packets.frames(),
            connection=self._connection(evidence),
            stale=self._stale(evidence, service),
            service=service,
            legacy=moved,
            counters=_difference(self._statistics, conntrack.statistics()),
            cgroup_programs=self._cgroup_programs(),
            hooks=self._hooks(),
            rules_changed=changed,
            unchecked=tuple(dict.fromkeys(self._unchecked)),
            notes=tuple(self._notes),
        )

    def _opened(self, what: str, make: Callable[[], T]) -> T | None:
        try:
            made = make()
            self._open_now.callback(made.close)
            return made
        except (OSError, SetupError) as error:
            self._unchecked.append(f"{what}: {error}")
            return None

    def _steps(self) -> tuple[Step, ...]:
        if self._events is None or self._table is None:
            return ()
        self._heard += self._events.take(SETTLE)
        return StepReader(self._rules, self._table.name, interface_name).steps(self._heard)

    def _current_generation(self) -> int:
        try:
            return self._rules.generation()
        except NetlinkError as error:
            self._unchecked.append(f"nftables: {error}")
            return 0

    def _moved_rules(self) -> tuple[LegacyRule, ...]:
        if not self._legacy:
            return ()
        after = legacy.snapshot_or_note(self._request.address.version, self._unchecked)
        return legacy.moved(self._legacy, after, self._request.address, self._request.port)

    def _connection(self, evidence: Evidence) -> Connection | None:
        probe = evidence.kernel
        if not probe.source_port:
            return None
        source = probe.source
        if ip_address(source).is_unspecified:
            source = self._host.source
        if not source:
            return None
        wanted = ConntrackTuple(
            ip_address(source), probe.source_port, self._request.address, self._request.port
        )
        try:
            entry = conntrack.tracked(self._request.protocol, wanted)
        except NetlinkError as error:
            self._unchecked.append(f"conntrack: {error}")
            return None
        return None if entry is None else connection_of(entry)

    def _stale(self, evidence: Evidence, service: Service) -> tuple[Connection, ...]:
        # Without known endpoints nothing is stale; a working TCP connection has none either.
        if not service.name or (evidence.kernel.works and evidence.target.protocol == "tcp"):
            return ()
        asked = self._request
        with suppress(NetlinkError):
            entries = conntrack.entries_to(asked.protocol, asked.address, asked.port)
            found = [connection_of(entry) for entry in entries if entry.destination_translated]
            return tuple(one for one in found if one.reply_source not in service.endpoints)
        return ()

    def _cgroup_programs(self) -> tuple[str, ...]:
        if self._request.in_pod:
            self._unchecked.append(
                "cgroup programs of the pod: the probe's socket is in this process's cgroup"
            )
        cgroup = own_cgroup()
        if cgroup is None:
            self._unchecked.append("cgroup programs: no cgroup2 is mounted")
            return ()
        try:
            return tuple(effective_programs(cgroup))
        except OSError as error:
            self._unchecked.append(f"cgroup programs: {error.strerror}")
            return ()

    def _hooks(self) -> tuple[str, ...]:
        if not self._host.interface:
            return ()
        with suppress(OSError):
            hooks = egress_hooks(socket.if_nametoindex(self._host.interface))
            self._unchecked += [f"{kind} on egress: not permitted" for kind in hooks.unseen]
            return hooks.found
        return ()


def connection_of(entry: conntrack.Tracked) -> Connection:
    """A conntrack entry as evidence."""
    original, reply = entry.original, entry.reply
    return Connection(
        end(str(original.source), original.source_port),
        end(str(original.destination), original.destination_port),
        end(str(reply.source), reply.source_port),
        end(str(reply.destination), reply.destination_port),
        entry.replied,
        entry.packets,
        entry.reply_packets,
    )


def interface_name(index: int) -> str:
    """An interface's name in the calling thread's namespace; "" where it has gone."""
    try:
        return socket.if_indextoname(index) if index else ""
    except OSError:
        return ""


def is_fresh(
    protocol: int, source: IPAddress, source_port: int, address: IPAddress, port: int
) -> bool:
    """Whether conntrack has no entry of this flow: with one, NAT rules do not see its packets."""
    try:
        wanted = ConntrackTuple(source, source_port, address, port)
        return conntrack.tracked(protocol, wanted) is None
    except NetlinkError as error:
        if error.errno in (errno.EPERM, errno.EINVAL):
            return True
        raise


def _is_fresh(request: Request, host: Host, port: int) -> bool:
    if not host.source:
        return True
    source = ip_address(host.source)
    return is_fresh(request.protocol, source, port, request.address, request.port)


def _tracing_chains(protocol: int, port: int) -> list[Chain]:
    """Out by the source port; back by the destination port, which an answer to a masqueraded
    packet carries only after prerouting."""
    out = build.l4proto(protocol) + build.source_port(port) + build.trace()
    back = build.l4proto(protocol) + build.destination_port(port) + build.trace()
    return [
        Chain("output", uapi.OUTPUT, FIRST, [out]),
        Chain("prerouting", uapi.PREROUTING, FIRST, [back]),
        Chain("input", uapi.INPUT, FIRST, [back]),
        # Without rules: a packet that is traced already shows here what NAT made of it.
        Chain("postrouting", uapi.POSTROUTING, _AFTER_NAT, []),
    ]


def _difference(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {
        name: value - before.get(name, 0)
        for name, value in after.items()
        if value != before.get(name, 0)
    }
