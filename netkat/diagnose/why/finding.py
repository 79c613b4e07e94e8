"""One conclusion: its token, what it means here, and what to do."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Verdict(str, enum.Enum):
    """Stable tokens. docs/why.md has an entry for each."""

    SAME = "same"
    CAPTURED_NAT = "captured_nat"
    CAPTURED_SOCKET = "captured_socket"
    BLOCKED_OUTPUT = "blocked_output"
    BLOCKED_INPUT = "blocked_input"
    NO_ENDPOINTS = "no_endpoints"
    OUTSIDE_SOURCE_RANGES = "outside_source_ranges"
    KUBE_PROXY_RULES_MISSING = "kube_proxy_rules_missing"
    NO_RULE = "no_rule"
    NO_ROUTE = "no_route"
    REFUSED = "refused"
    REJECTED = "rejected"
    SILENT = "silent"
    KERNEL_DROP = "kernel_drop"
    STALE_CONNTRACK = "stale_conntrack"
    HAIRPIN = "hairpin"
    CLUSTER_INTERNAL = "cluster_internal"
    OWN_ADDRESS = "own_address"
    DIFFERENT_SERVERS = "different_servers"
    INTERMITTENT = "intermittent"
    UNDECIDED = "undecided"

    ACCEPTED = "accepted"
    NO_LOCAL_ENDPOINT = "no_local_endpoint"
    BLOCKED_FORWARD = "blocked_forward"
    BLOCKED_POLICY = "blocked_policy"
    REPLY_BLOCKED = "reply_blocked"
    REPLY_ELSEWHERE = "reply_elsewhere"
    FORWARDED = "forwarded"
    NOT_THIS_NODE = "not_this_node"
    NOTHING_LISTENS = "nothing_listens"
    NOTHING_ARRIVED = "nothing_arrived"

    @property
    def heading(self) -> str:
        """As printed in the report: CAPTURED NAT."""
        return self.value.upper().replace("_", " ")


WORKS, FINDING, UNDECIDED = 0, 1, 3
"""Exit statuses; 2 is usage and set-up."""

_WORKING = frozenset({Verdict.SAME, Verdict.ACCEPTED})
_OPEN = frozenset(
    {Verdict.UNDECIDED, Verdict.OWN_ADDRESS, Verdict.FORWARDED, Verdict.NOT_THIS_NODE}
)


@dataclass(frozen=True, slots=True)
class Finding:
    """``text`` is one line; ``rules`` are lines that name what is responsible."""

    verdict: Verdict
    text: str
    rules: tuple[str, ...] = ()
    next: str = ""
    works: bool = False
    """The connection works for all that: a ClusterIP that answers."""
    open: bool = False
    """Not decided although it has a name: no reply by UDP proves nothing."""

    @property
    def exit_status(self) -> int:
        """0 works, 1 a finding, 3 undecided."""
        if self.works or self.verdict in _WORKING:
            return WORKS
        return UNDECIDED if self.open or self.verdict in _OPEN else FINDING
