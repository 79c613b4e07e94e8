"""Names of the ICMP errors that a connection attempt meets (RFC 792, RFC 1812, RFC 4443)."""

from __future__ import annotations

from typing import Final

_NAMES: Final = {
    (4, 3, 0): "network unreachable",
    (4, 3, 1): "host unreachable",
    (4, 3, 2): "protocol unreachable",
    (4, 3, 3): "port unreachable",
    (4, 3, 4): "fragmentation needed",
    (4, 3, 9): "network administratively prohibited",
    (4, 3, 10): "host administratively prohibited",
    (4, 3, 13): "administratively prohibited",
    (4, 11, 0): "TTL exceeded in transit",
    (6, 1, 0): "no route to destination",
    (6, 1, 1): "administratively prohibited",
    (6, 1, 3): "address unreachable",
    (6, 1, 4): "port unreachable",
    (6, 1, 5): "source address failed policy",
    (6, 1, 6): "reject route to destination",
    (6, 2, 0): "packet too big",
    (6, 3, 0): "hop limit exceeded in transit",
}


def icmp_name(version: int, icmp_type: int, code: int) -> str:
    """The name of an ICMP (4) or ICMPv6 (6) error; its numbers where it has none here."""
    return _NAMES.get((version, icmp_type, code), f"type {icmp_type} code {code}")
