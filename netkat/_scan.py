"""Many ports of one host at once: the door to -z."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from netkat._api import AnyAttempt, FailedAttempt, Outbound
from netkat.conn.sweep import Lane, Outcome, Sweep
from netkat.errors import NetkatError
from netkat.flow import IPAddress, Protocol

if TYPE_CHECKING:
    from typing import Any

__all__ = ["AT_ONCE", "UDP_WAIT", "Outcome", "Scanner"]

AT_ONCE = 256
"""Ports that are waited for at the same time. gVisor keeps as many packets for a next hop
whose MAC it does not know yet, and drops the oldest beyond."""

UDP_WAIT = 2.0
"""Seconds for an answer from a UDP port, all datagrams together, where the caller names none."""

_OTHERS, _EACH = 64, 3
"""Descriptors that everything else may need, and those of one port (a kernel socket's)."""

_LOOK = 0.005
"""Seconds between looks at the ends of connections; for these there is no descriptor."""


class Scanner(Outbound):
    """Asks ``ports`` of each address, until one answers. Otherwise as Outbound."""

    def __init__(
        self,
        addresses: Sequence[IPAddress],
        ports: Sequence[int],
        *,
        protocol: Protocol = Protocol.TCP,
        **where: Any,
    ) -> None:
        self._ports = ports
        targets = [(address, ports[0]) for address in addresses]
        super().__init__(targets, protocol=protocol, peers=len(ports), **where)

    def outcomes(self, *, timeout: float, cancel_fd: int | None = None) -> Iterator[Outcome]:
        """What each port says, as it says it; ``timeout`` in seconds for each.

        Errors: Cancelled when ``cancel_fd`` polls readable; GuardFailed, InterfaceDown.
        """
        return iter(
            Sweep(
                [(attempt.address, self._lane(attempt)) for attempt in self.attempts],
                self._ports,
                self._protocol,
                timeout=timeout,
                at_once=_at_once(),
                cancel_fd=cancel_fd,
            )
        )

    def part(self, seconds: float) -> None:
        """Let the peers of the connections that were opened end them too, that long at most."""
        end = time.monotonic() + seconds
        while self._way.parting() and time.monotonic() < end:
            time.sleep(_LOOK)

    def _lane(self, attempt: AnyAttempt) -> Lane | NetkatError:
        if isinstance(attempt, FailedAttempt):
            return attempt.error
        return self._way.lane(attempt)  # type: ignore[arg-type]


def _at_once() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OTHERS + AT_ONCE * _EACH
    if soft < wanted <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return max(1, min(AT_ONCE, (soft - _OTHERS) // _EACH))
