"""The eBPF instructions that ship with netkat; compile.py makes them from the C files."""

from __future__ import annotations

import os
import struct
import sys
from typing import Final

from netkat.errors import KernelTooOld

LICENSE: Final = "Apache-2.0"
"""The project's own: the programs call no helper that the kernel reserves for GPL programs."""

ETHERNET_HEADER: Final = 14

PROGRAMS: Final = {"ingress": "guard/ingress.insns", "socket_filter": "filters/socket_filter.insns"}
"""Name of a program: its instructions, relative to this file."""

_LD_IMM64, _MAP_FD = 0x18, 1
_NETWORK_HEADER: Final = 0x6E6B6E68
"""What network_header() of socket_filter.c loads until instructions() replaces it."""


def instructions(name: str, map_fd: int, *, ethernet: bool = False) -> bytes:
    """Return a program that uses the map with this descriptor.

    ``ethernet``: frames start with an Ethernet header, for the socket filter; the guard
    reads from the network header. Errors: KernelTooOld.
    """
    if sys.byteorder != "little":
        raise KernelTooOld(
            "eBPF: the instructions are little-endian, this machine is not",
            feature="eBPF",
            needs="a little-endian machine",
        )
    # Not by pathlib: importing it takes longer than the rest of this function.
    with open(os.path.join(os.path.dirname(__file__), PROGRAMS[name])) as text:
        code = bytearray.fromhex("".join(line for line in text if line[:1] != "#"))
    for at in range(0, len(code), 8):
        if code[at] != _LD_IMM64:
            continue
        if code[at + 1] >> 4 == _MAP_FD:
            struct.pack_into("<i", code, at + 4, map_fd)
        elif struct.unpack_from("<I", code, at + 4)[0] == _NETWORK_HEADER:
            struct.pack_into("<I", code, at + 4, ETHERNET_HEADER if ethernet else 0)
    return bytes(code)
