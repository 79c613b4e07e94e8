"""The flows of a classic filter, embedded behind its last return for other processes to read.

sock_diag(7) shows the classic filter of every packet socket to processes with CAP_NET_ADMIN,
so ``netkat sniff`` can distinguish frames of another netkat from the kernel's. The kernel
checks these instructions, and never runs them: loads of constants, their number, and a return
with a magic value.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence

from netkat.bpf.filters.cbpf import LD_IMM, MAX_INSTRUCTIONS, RET, Instruction
from netkat.flow import Flow

_MAGIC = 0x6E746B74  # "ntkt"
_INSTRUCTION = struct.Struct("=HBBI")
_WORDS = {4: 1, 6: 4}
"""32-bit words of an address."""

Ends = tuple[int, int, bytes, int, bytes, int]
"""IP version, protocol, local address and port, remote ones: zeros in a listener's flow."""


def embed(program: Sequence[Instruction], flows: Iterable[Flow]) -> list[Instruction]:
    """Return the program, and behind it as many flows as there is room for, the last first."""
    words: list[int] = []
    room = MAX_INSTRUCTIONS - len(program) - 2
    for flow in reversed(list(flows)):
        following = _words(flow)
        if len(words) + len(following) > room:
            break
        words += following
    if not words:
        return list(program)
    trailer = [Instruction(LD_IMM, 0, 0, word) for word in (*words, len(words))]
    return [*program, *trailer, Instruction(RET, 0, 0, _MAGIC)]


def flows_in(program: bytes) -> Iterator[Ends]:
    """Yield the flows that embed() wrote into a filter (struct sock_filter[]), if any."""
    code = list(_INSTRUCTION.iter_unpack(program[: len(program) // 8 * 8]))
    if len(code) < 3 or code[-1] != (RET, 0, 0, _MAGIC):
        return
    count = code[-2][3]
    words = [word for _, _, _, word in code[-2 - count : -2]] if count <= len(code) - 2 else []
    at = 0
    while at + 2 <= len(words):
        version, protocol = words[at] >> 8, words[at] & 0xFF
        width = _WORDS.get(version)
        if width is None or at + 2 + 2 * width > len(words):
            return
        local_port, remote_port = words[at + 1] >> 16, words[at + 1] & 0xFFFF
        local, remote = (
            struct.pack(f"!{width}I", *words[start : start + width])
            for start in (at + 2, at + 2 + width)
        )
        yield version, protocol, local, local_port, remote, remote_port
        at += 2 + 2 * width


def _words(flow: Flow) -> list[int]:
    width = _WORDS[flow.version]
    remote = bytes(4 * width) if flow.remote is None else flow.remote.packed
    ends = struct.unpack(f"!{2 * width}I", flow.local.packed + remote)
    return [flow.version << 8 | flow.protocol, flow.local_port << 16 | flow.remote_port, *ends]
