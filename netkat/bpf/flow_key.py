"""A flow as the key of the guard's map: ``struct flow_key`` of flows.h."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

from netkat.flow import Flow

KEY: Final = struct.Struct("!16s16sHHBBBx")


@lru_cache(maxsize=16)  # asked three times in a row as a flow begins, and as it ends
def key_of(flow: Flow) -> bytes:
    """The flow's own entry, which the guard reads too."""
    remote = b"" if flow.remote is None else flow.remote.packed
    return KEY.pack(
        flow.local.packed,
        remote,
        flow.local_port,
        flow.remote_port,
        flow.protocol,
        flow.version,
        0,
    )
