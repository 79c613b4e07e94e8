"""A flow: the five-tuple of a filter, a guard entry or a connection."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

IPAddress = IPv4Address | IPv6Address


class Protocol(enum.IntEnum):
    """IANA protocol numbers, as in the IP header."""

    TCP = 6
    UDP = 17

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Flow:
    """One flow as this host sees it. ``remote`` None and ``remote_port`` 0 are wildcards.

    Both addresses are of one family. An address may have a
    zone (``fe80::1%eth0``) for messages; ``.packed`` is the address without it.
    """

    protocol: Protocol
    local: IPAddress
    local_port: int
    remote: IPAddress | None = None
    remote_port: int = 0
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # A connection is looked up a dozen times, and an address hashes its own text. Of
        # numbers alone, so that it holds in another process.
        remote = None if self.remote is None else int(self.remote)
        ends = int(self.local), self.local_port, remote or -1, self.remote_port
        object.__setattr__(self, "_hash", hash((int(self.protocol), *ends)))

    def __hash__(self) -> int:
        return self._hash

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.local.version

    @property
    def any_peer(self) -> bool:
        """True for a listener's flow."""
        return self.remote is None

    def __str__(self) -> str:
        peer = "*" if self.remote is None else f"{self.remote}.{self.remote_port}"
        return f"{self.protocol} {self.local}.{self.local_port} > {peer}"
