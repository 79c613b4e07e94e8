"""Whether the route of a flow may depend on its protocol and ports.

It does where a policy rule selects by them (ip-rule(8)), or where multipath routes hash them
(net.ipv4.fib_multipath_hash_policy and IPv6's, ip-sysctl.rst).
"""

from __future__ import annotations

from netkat import netlink

_RTM_GETRULE = 34
_RULE_HEADER = 12
"""Bytes of struct fib_rule_hdr (linux/fib_rules.h); zeros ask for every rule of both families."""
_FRA_IP_PROTO, _FRA_SPORT_RANGE, _FRA_DPORT_RANGE = 22, 23, 24
_PORTS = frozenset((_FRA_IP_PROTO, _FRA_SPORT_RANGE, _FRA_DPORT_RANGE))


def ports_decide() -> bool:
    """Ask in the calling thread's network namespace."""
    if any(map(_hashes_ports, ("ipv4", "ipv6"))):
        return True
    with netlink.Netlink() as kernel:
        answers = kernel.dump(_RTM_GETRULE, bytes(_RULE_HEADER))
    return any(_PORTS & netlink.attributes(answer, _RULE_HEADER).keys() for answer in answers)


def _hashes_ports(family: str) -> bool:
    try:
        with open(f"/proc/sys/net/{family}/fib_multipath_hash_policy", "rb") as policy:
            return policy.read().strip() != b"0"
    except FileNotFoundError:  # a kernel without multipath routes, or without IPv6
        return False
