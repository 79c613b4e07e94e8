"""A socket filter that accepts nothing, loaded once for many sockets.

The classic filter that host/ports.py has otherwise is translated and compiled for each
socket: half of what reserving a port costs.
"""

from __future__ import annotations

import struct
import sys
from typing import Final

from netkat.bpf.program import SOCKET_FILTER, Program
from netkat.bpf.shipped import LICENSE

NAME: Final = "netkat_drop_all"

_REGISTERS = "<BBhi" if sys.byteorder == "little" else ">BBhi"
_RETURN_NOTHING: Final = struct.pack(_REGISTERS, 0xB7, 0, 0, 0) + struct.pack(
    _REGISTERS, 0x95, 0, 0, 0
)
"""r0 = 0 (BPF_ALU64 | BPF_MOV | BPF_K); BPF_EXIT."""


class DropAll(Program):
    """For SO_ATTACH_BPF. Errors: OSError, VerifierRefused, KernelTooOld."""

    def __init__(self) -> None:
        super().__init__(NAME, _RETURN_NOTHING, LICENSE, SOCKET_FILTER)
