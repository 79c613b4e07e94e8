"""Keys of the map that guard and filter share: ``struct flow_key`` of flow_lookup.h."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

from netkat.flow import Flow, IPAddress

KEY: Final = struct.Struct("!16s16sHHBBBx")

_FLOW, _FRAGMENTS, _NEXT_HOP, _LOCAL, _CLAIMED = range(5)
"""The field ``kind``."""


@lru_cache(maxsize=16)  # asked three times in a row as a flow begins, and as it ends
def key_of(flow: Flow) -> bytes:
    """The flow's own key: guard and filter look for it first."""
    return KEY.pack(
        flow.local.packed,
        _packed(flow.remote),
        flow.local_port,
        flow.remote_port,
        flow.protocol,
        flow.version,
        _FLOW,
    )


def fragments_key(flow: Flow) -> bytes:
    """The key of later fragments, which carry no ports."""
    local, remote = flow.local.packed, _packed(flow.remote)
    return KEY.pack(local, remote, 0, 0, flow.protocol, flow.version, _FRAGMENTS)


def next_hop_key(version: int, next_hop: IPAddress | None) -> bytes:
    """The key of a next hop; None: any host may be one."""
    return KEY.pack(b"", _packed(next_hop), 0, 0, 0, version, _NEXT_HOP)


def local_key(address: IPAddress) -> bytes:
    """The key of a flow's local address."""
    return KEY.pack(address.packed, b"", 0, 0, 0, address.version, _LOCAL)


def claimed_key(address: IPAddress) -> bytes:
    """The key of an address that the kernel does not have."""
    return KEY.pack(address.packed, b"", 0, 0, 0, address.version, _CLAIMED)


def _packed(address: IPAddress | None) -> bytes:
    return b"" if address is None else address.packed
