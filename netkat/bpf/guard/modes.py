"""The guard: the interface of every mode."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from netkat.errors import BadArgument
from netkat.flow import Flow, IPAddress

if TYPE_CHECKING:
    from netkat.bpf.filters.ebpf_filter import EbpfFilter


class GuardMode(str, enum.Enum):
    """How the guard is attached, the best mode first."""

    TCX = "tcx"
    CLSACT = "clsact"
    CBPF = "cbpf"
    SOCKET = "socket"
    NONE = "none"

    def __str__(self) -> str:
        return self.value


class GuardLink(NamedTuple):
    """The interface to guard. ``ethernet``: its frames carry an Ethernet header."""

    name: str
    index: int  # type: ignore[assignment]  # a field in place of tuple.index
    ethernet: bool


class Guard(ABC):
    """Drops flows for the kernel on one interface, until close()."""

    mode: GuardMode

    def __init__(self, link: GuardLink) -> None:
        self.link = link
        self.unavailable: list[str] = []
        """Why each better mode was not used: "mode (reason)"."""

    def describe(self) -> str:
        """Return one line: the mode, where it is attached, and why no better mode was used."""
        line = f"{self.mode}: {self._attachment()}"
        return f"{line}; unavailable: {', '.join(self.unavailable)}" if self.unavailable else line

    @abstractmethod
    def _attachment(self) -> str: ...

    @abstractmethod
    def add(self, flow: Flow) -> None:
        """Drop this flow for the kernel from now on. Errors: GuardFailed, BadArgument."""

    def add_all(self, flows: Iterable[Flow]) -> None:
        """Add several flows at once. Errors: as add(); flows before the refused one stay added."""
        for flow in flows:
            self.add(flow)

    @abstractmethod
    def claim(self, address: IPAddress) -> bool:
        """Drop every packet to an address that the kernel does not have, until close().

        The kernel would forward them, reply with ICMP and resolve the address by ARP. False
        if this mode drops nothing. Errors: as add().
        """

    @abstractmethod
    def remove(self, flow: Flow) -> None:
        """Stop dropping the flow's packets. Idempotent."""

    @abstractmethod
    def kept(self, flow: Flow) -> int | None:
        """Return how many of the flow's packets were dropped; None if this mode cannot count.

        A GRO packet counts as one.
        """

    def keep_sight(self) -> None:  # noqa: B027  optional to override
        """Prepare explain_miss() to work after the capabilities are dropped.

        Most modes need no preparation.
        """

    def socket_filter(self) -> EbpfFilter | None:
        """Load the packet socket's filter over this guard's map; None: the guard has no map.

        Errors: any SetupError.
        """
        return None

    @abstractmethod
    def explain_miss(self) -> str | None:
        """Return why the guard may have missed a packet: what runs before it, or its removal."""

    @abstractmethod
    def close(self) -> None:
        """Detach everything. Idempotent."""


def check(flow: Flow) -> None:
    """Check that a guard entry is a complete five-tuple, or a listener's without a peer.

    Errors: BadArgument.
    """
    if flow.local.is_unspecified or not flow.local_port:
        raise BadArgument(f"{flow} has no local address or port: it would match forwarded traffic")
    if (flow.remote is None) != (flow.remote_port == 0):
        raise BadArgument(f"{flow} has only one of peer address and port")
