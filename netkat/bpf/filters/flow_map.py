"""The map of flows that the eBPF guard and the eBPF socket filter look packets up in."""

from __future__ import annotations

import errno
import struct
from typing import Final

from netkat.bpf.bpf_syscall import HashMap
from netkat.bpf.filters.flow_key import KEY
from netkat.errors import GuardFailed, MissingCapability

MAX_ENTRIES: Final = 16384
"""A flow takes one entry, and one more for the fragments of each peer; costs 256 KiB of buckets."""

_COUNT = struct.Struct("=Q")
_ZERO = bytes(_COUNT.size)


class FlowMap:
    """Entries by key (flow_key.py) with the packets that the guard dropped for each.

    Errors of the constructor: OSError.
    """

    def __init__(self) -> None:
        self._map = HashMap("netkat_flows", KEY.size, _COUNT.size, MAX_ENTRIES)
        self.close = self._map.close

    @property
    def fd(self) -> int:
        """The map's descriptor, for the programs."""
        return self._map.fd

    def add(self, key: bytes, what: object) -> None:
        """Add an entry; ``what`` names it in an error. Errors: GuardFailed, MissingCapability."""
        try:
            self._map.insert(key, _ZERO)
        except OSError as error:
            if error.errno == errno.E2BIG:
                raise GuardFailed(
                    f"adding {what} to the guard: its map holds {MAX_ENTRIES} entries already"
                ) from None
            if error.errno == errno.EPERM:
                # Before Linux 5.19 a map's own descriptor is not enough where
                # kernel.unprivileged_bpf_disabled is set.
                raise MissingCapability(
                    f"adding {what} to the guard: this kernel requires CAP_BPF, which was dropped",
                    capability="CAP_BPF",
                    hint="choose --guard cbpf, which changes its flows without it",
                ) from None
            raise GuardFailed(f"adding {what} to the guard: {error.strerror}") from None

    def remove(self, key: bytes, what: object) -> None:
        """Remove an entry, if this process still may. Errors: GuardFailed."""
        try:
            self._map.delete(key)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EBADF):
                raise GuardFailed(f"removing {what} from the guard: {error.strerror}") from None

    def dropped(self, key: bytes) -> int | None:
        """Packets dropped for an entry; None without it, or if this process may not read it."""
        try:
            value = self._map.lookup(key)
        except OSError as error:
            if error.errno in (errno.EPERM, errno.EBADF):
                return None
            raise GuardFailed(f"reading the guard's count: {error.strerror}") from None
        return None if value is None else int(_COUNT.unpack(value)[0])
