"""What every step of the guard has in common."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from netkat.errors import BadArgument
from netkat.flow import Flow, IPAddress

if TYPE_CHECKING:
    from netkat.bpf.ebpf_filter import EbpfFilter


class Step(str, enum.Enum):
    """The steps of the ladder, the best first."""

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
    """Keeps flows from the kernel on one interface, until close()."""

    step: Step

    def __init__(self, link: GuardLink) -> None:
        self.link = link
        self.not_taken: list[str] = []
        """Why each higher step was not taken, one line each."""

    def describe(self) -> str:
        """The step and how it stands, and why not a higher one: one line, for people."""
        words = f"{self.step}: {self._standing()}"
        return f"{words} (not {'; not '.join(self.not_taken)})" if self.not_taken else words

    @abstractmethod
    def _standing(self) -> str: ...

    @abstractmethod
    def add(self, flow: Flow) -> None:
        """Keep this flow from the kernel from now on. Errors: GuardFailed, BadArgument."""

    def add_all(self, flows: Iterable[Flow]) -> None:
        """Several at once. Errors: as add(); those before the one refused stay added."""
        for flow in flows:
            self.add(flow)

    @abstractmethod
    def claim(self, address: IPAddress) -> bool:
        """Keep every packet to an address that the kernel does not have from it, until close().

        It would forward them, answer with ICMP and ask for the address by ARP. False where
        this guard keeps nothing from the kernel. Errors: as add().
        """

    @abstractmethod
    def remove(self, flow: Flow) -> None:
        """Give the flow back to the kernel; nothing happens when it was not there."""

    @abstractmethod
    def kept(self, flow: Flow) -> int | None:
        """Packets of the flow kept from the kernel (a super-frame is one); None: cannot count."""

    def keep_sight(self) -> None:  # noqa: B027
        """Called before privileges are dropped, for in_the_way() to be as good after it.

        Nothing to do at most steps: they see as much without privileges.
        """

    def socket_filter(self) -> EbpfFilter | None:
        """Load the packet socket's filter over this guard's map; None: the guard has no map.

        Errors: any SetupError.
        """
        return None

    @abstractmethod
    def in_the_way(self) -> str | None:
        """The foreign programs that see packets before us and may keep them: id, name, where."""

    @abstractmethod
    def close(self) -> None:
        """Take away all that was attached; more than once is once."""


def check(flow: Flow) -> None:
    """A guard entry is a whole five-tuple, or a listener's with no peer at all.

    Errors: BadArgument.
    """
    if flow.local.is_unspecified or not flow.local_port:
        raise BadArgument(f"{flow} names no local address and port: it would match transit traffic")
    if (flow.remote is None) != (flow.remote_port == 0):
        raise BadArgument(f"{flow} names half a peer")
