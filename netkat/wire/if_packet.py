"""Constants of linux/if_packet.h and socket filters, the same on x86-64 and arm64."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable, Sequence

Instruction = tuple[int, int, int, int]
"""code, jt, jf, k: ``struct sock_filter`` (linux/filter.h)."""

# linux/if_ether.h
ETH_P_ALL = 3

# asm-generic/socket.h
SO_ATTACH_FILTER = 26
SO_ATTACH_BPF = 50
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33

# linux/if_packet.h
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP = 1
PACKET_STATISTICS = 6
PACKET_VNET_HDR = 15
PACKET_QDISC_BYPASS = 20
PACKET_IGNORE_OUTGOING = 23
PACKET_MR_MULTICAST, PACKET_MR_PROMISC = 0, 1

TPACKET_STATS = struct.Struct("=II")
"""``struct tpacket_stats``: packets that passed the filter, those of them that were dropped."""

PACKET_MREQ = struct.Struct("=iHH8s")
"""``struct packet_mreq``: interface, type, address length, address."""

_SOCK_FILTER = struct.Struct("=HBBI")


class SockFprog(ctypes.Structure):
    """``struct sock_fprog``, the argument of SO_ATTACH_FILTER."""

    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def sock_fprog(program: Sequence[Instruction]) -> tuple[bytes, object]:
    """Return the option's value, and the buffer that it points to: keep it while in use."""
    instructions = ctypes.create_string_buffer(_sock_filters(program))
    return bytes(SockFprog(len(program), ctypes.addressof(instructions))), instructions


def _sock_filters(program: Iterable[Instruction]) -> bytes:
    return b"".join(_SOCK_FILTER.pack(*instruction) for instruction in program)
