"""The instructions that ship with netkat: compile.py made them of the C files beside them."""

from __future__ import annotations

import os
import struct
import sys
from typing import Final

from netkat.errors import KernelTooOld

LICENSE: Final = "Apache-2.0"
"""The project's own: the programs call no helper that the kernel keeps for GPL programs."""

_LD_IMM64, _MAP_FD = 0x18, 1


def instructions(map_fd: int, name: str = "ingress") -> bytes:
    """A program's, with the map's descriptor in its place. Errors: KernelTooOld."""
    if sys.byteorder != "little":
        raise KernelTooOld(
            "eBPF: the instructions are little-endian, this machine is not",
            feature="eBPF",
            needs="a little-endian machine",
        )
    # Not by pathlib: importing it costs more than all the rest of this.
    with open(os.path.join(os.path.dirname(__file__), f"{name}.insns")) as text:
        code = bytearray.fromhex("".join(line for line in text if line[:1] != "#"))
    for at in range(0, len(code), 8):
        if code[at] == _LD_IMM64 and code[at + 1] >> 4 == _MAP_FD:
            struct.pack_into("<i", code, at + 4, map_fd)
    return bytes(code)
