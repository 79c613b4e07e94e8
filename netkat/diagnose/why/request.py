"""The parameters of one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from netkat.errors import BadArgument
from netkat.flow import IPAddress, Protocol
from netkat.host.netns import run_in_netns

T = TypeVar("T")

TIMEOUT = 3.0
"""Seconds that each of the two connections waits: the SYNs at 0 and 1 s, and a late answer."""

_DNS_QUERY = bytes.fromhex("6b77010000010000000000000000020001")
"""The root's name servers: every DNS server has an answer, even if it is a refusal."""
_NTP_QUERY = b"\x23" + bytes(47)
_HARMLESS = {53: _DNS_QUERY, 123: _NTP_QUERY}


@dataclass(frozen=True, slots=True)
class Request:
    """One question. ``payload`` is what a UDP probe sends."""

    host: str
    address: IPAddress
    port: int
    protocol: Protocol = Protocol.TCP
    netns: str | int | None = None
    timeout: float = TIMEOUT
    claim: str | None = None
    payload: bytes = b""
    read_only: bool = False
    count: int = 1
    incoming: bool = False
    client: IPAddress | None = None
    interface: str | None = None
    wait: float | None = None
    """Seconds to wait for a real packet of the client, in place of an injected one."""

    @property
    def in_pod(self) -> bool:
        """Whether the namespace is named by a process in it, as --pod and --container do."""
        return isinstance(self.netns, int) or str(self.netns or "").startswith("/proc/")

    def call(self, function: Callable[[], T]) -> T:
        """Call the function in the request's network namespace."""
        return function() if self.netns is None else run_in_netns(self.netns, function)


def datagram_for(port: int, given: bytes | None) -> bytes:
    """The payload of a UDP probe: known and harmless, or the caller's own. Errors: BadArgument."""
    if given is not None:
        return given
    if port not in _HARMLESS:
        raise BadArgument(
            f"-u: no harmless datagram is known for port {port}",
            hint="name a file with what to send: --send FILE",
        )
    return _HARMLESS[port]
