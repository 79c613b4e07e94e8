"""tcpdump's filter language → the classic BPF program that the kernel runs for a capture."""

from __future__ import annotations

import re
from collections.abc import Sequence

from netkat.bpf.filters.filter_errors import explain
from netkat.bpf.filters.libpcap import (
    NETMASK_UNKNOWN,
    FilterRefused,
    Handle,
    Instruction,
)
from netkat.errors import BadArgument

DLT_EN10MB = 1
DLT_RAW = 12
DLT_LINUX_SLL2 = 276

MAX_SNAPLEN = 262144
"""tcpdump's default: libpcap's MAXIMUM_SNAPLEN."""

_LD, _LDX, _RET, _JEQ_K, _JA = 0x00, 0x01, 0x06, 0x15, 0x05
_LD_W_ABS = 0x20
_MODE_MASK, _ABS, _IND, _MSH = 0xE0, 0x20, 0x40, 0xA0
_AD_OFF = 0xFFFFF000
_AD_PROTOCOL, _AD_PKTTYPE, _AD_IFINDEX = _AD_OFF + 0, _AD_OFF + 4, _AD_OFF + 8
_NET_OFF = 0xFFF00000  # SKF_NET_OFF
_NEGATIVE = 0x80000000
_SLL2_LENGTH = 20
_SLL2_ANCILLARY = {0: _AD_PROTOCOL, 4: _AD_IFINDEX, 10: _AD_PKTTYPE}
"""Fields of struct sll2_header that a filter can read as ancillary data, without the header."""

_OUTGOING = 4  # PACKET_OUTGOING, linux/if_packet.h

_VLAN_WORD = re.compile(r"(?<![\w.:-])vlan(?![\w.:-])")


def compile_filter(
    expression: str,
    *,
    linktype: int = DLT_EN10MB,
    snaplen: int = MAX_SNAPLEN,
    optimize: bool = True,
    netmask: int = NETMASK_UNKNOWN,
    device: str | None = None,
) -> list[Instruction]:
    """Compile for frames of ``linktype``; the program returns ``snaplen`` for a match.

    ``device`` is needed by ``vlan`` in a live capture only: the kernel takes
    the tag out of the frame, and libpcap reads the metadata instead only for
    an activated handle (gen_vlan in its gencode.c).
    An empty expression matches every packet, and does not load libpcap.
    Errors: FilterRefused (with the position), LibpcapMissing.
    """
    if not expression.strip():
        return [(_RET, 0, 0, snaplen)]
    live = device if device is not None and _VLAN_WORD.search(expression) else None
    handle = Handle(linktype, snaplen, live)
    try:
        return handle.compile(expression, optimize=optimize, netmask=netmask)
    except FilterRefused as refused:
        raise explain(expression, refused, handle) from None
    finally:
        handle.close()


def cooked_to_kernel(program: Sequence[Instruction]) -> list[Instruction] | None:
    """Return a program for DLT_LINUX_SLL2 in a form that a packet socket can run, or None.

    The kernel has no such header in front of the packet: what the header would
    hold comes from its ancillary loads, and the packet is read from its network
    header on, whatever link header the interface puts before it.
    """
    changed: list[Instruction] = []
    for code, jt, jf, k in program:
        klass, mode = code & 0x07, code & _MODE_MASK
        if klass in (_LD, _LDX) and mode in (_ABS, _IND, _MSH) and k < _NEGATIVE:
            if k >= _SLL2_LENGTH:
                k += _NET_OFF - _SLL2_LENGTH
            elif mode == _ABS and k in _SLL2_ANCILLARY:
                # An ancillary load yields the whole value whatever the width says,
                # and only the 32-bit form is accepted for every one of them.
                code, k = _LD_W_ABS, _SLL2_ANCILLARY[k]
            else:
                return None
        changed.append((code, jt, jf, k))
    return changed


def with_direction(
    program: Sequence[Instruction], direction: str, loopback: int
) -> list[Instruction]:
    """Return ``program`` limited to frames of a direction: "in", "out" or "inout".

    ``loopback`` is the index of a loopback interface among those watched (0 if
    none). A packet on it passes the tap twice, out and in: only the second is kept.
    """
    test: list[Instruction] = [(_LD_W_ABS, 0, 0, _AD_PKTTYPE)]
    if direction == "in":
        test += [(_JEQ_K, 0, 1, _OUTGOING), (_RET, 0, 0, 0)]
    elif direction == "out":
        test += [(_JEQ_K, 1, 0, _OUTGOING), (_RET, 0, 0, 0)]
    elif direction != "inout":
        raise BadArgument(f"invalid direction {direction!r} (in, out or inout)")
    elif loopback:
        test += [
            (_JEQ_K, 0, 3, _OUTGOING),
            (_LD_W_ABS, 0, 0, _AD_IFINDEX),
            (_JEQ_K, 0, 1, loopback),
            (_RET, 0, 0, 0),
        ]
    else:
        return list(program)
    return test + list(program)


def with_snaplen(program: Sequence[Instruction], snaplen: int) -> list[Instruction]:
    """Return the program with ``snaplen`` as the length that it keeps of accepted frames."""
    return [(code, jt, jf, snaplen if code == _RET and k else k) for code, jt, jf, k in program]
