"""Local ports for a program that may open many connections: what each needs alike is made once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from netkat.errors import KernelTooOld
from netkat.flow import IPAddress, Protocol
from netkat.host.conntrack import Census
from netkat.host.ports import Reservation, reserve

if TYPE_CHECKING:
    from netkat.bpf.drop_all import DropAll

FEW = 2
"""Ports that are reserved before a filter for all of them is worth its loading."""


class Ports:
    """reserve() with what many have in common. close() is idempotent; what is held stays held."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._census = Census()
        self._drop_all: DropAll | None = None
        self._came = 0

    def reserve(
        self, protocol: Protocol, local: IPAddress, port: int = 0, **peer: Any
    ) -> Reservation:
        """As host.ports.reserve, by the thread that is in the network namespace."""
        filter_fd = self._filter()
        return reserve(protocol, local, port, filter_fd=filter_fd, census=self._census, **peer)

    def close(self) -> None:
        """Let go of what was made; a socket that the filter is attached to keeps it."""
        with self._lock:
            self._census.close()
            if self._drop_all is not None:
                self._drop_all.close()
                self._drop_all = None

    def _filter(self) -> int | None:
        with self._lock:
            self._came += 1
            if self._came == FEW:
                self._drop_all = _loaded()
            return None if self._drop_all is None else self._drop_all.fd


def _loaded() -> DropAll | None:
    """None where this process may not load it, or the kernel cannot: each has its own then."""
    from netkat.bpf.drop_all import DropAll
    from netkat.bpf.program import VerifierRefused

    try:
        return DropAll()
    except (OSError, VerifierRefused, KernelTooOld):
        return None
