"""An assembler for classic BPF: labels, and jumps of any length.

Instruction set: Documentation/networking/filter.rst; encoding: linux/filter.h
and linux/bpf_common.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from netkat.errors import NetkatError

MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_REACH = 255  # of a conditional jump; an unconditional one has 32 bits

LD_W, LD_H, LD_B = 0x20, 0x28, 0x30
"""A = the packet's bytes at offset k."""
LD_W_IND, LD_H_IND, LD_B_IND = 0x40, 0x48, 0x50
"""A = the packet's bytes at offset X + k."""
LD_IMM, LDX_IMM, LD_MEM, LDX_MEM = 0x00, 0x01, 0x60, 0x61
"""A = k; X = k; A = M[k]; X = M[k]."""
LDX_MSH = 0xB1
"""X = 4 * (byte at k & 15), an IPv4 header's length."""
ST, TAX, TXA = 0x02, 0x07, 0x87
ADD, AND, LSH, RSH = 0x04, 0x54, 0x64, 0x74
"""A = A op k."""
ADD_X, OR_X = 0x0C, 0x4C
"""A = A op X."""
JA, JEQ, JGT, JGE, JSET = 0x05, 0x15, 0x25, 0x35, 0x45
JEQ_X = 0x1D
"""A == X."""
RET = 0x06

AD_PROTOCOL = 0xFFFFF000
"""Ancillary offsets (SKF_AD_OFF + SKF_AD_...): the EtherType in host order."""
AD_PKTTYPE = AD_PROTOCOL + 4
AD_VLAN_TAG = AD_PROTOCOL + 44
AD_VLAN_TAG_PRESENT = AD_PROTOCOL + 48

_INSTRUCTION = struct.Struct("=HBBI")


class Instruction(NamedTuple):
    """``struct sock_filter``."""

    code: int
    jt: int
    jf: int
    k: int


class ProgramTooLong(NetkatError):
    """More instructions than the kernel takes (BPF_MAXINSNS)."""


class Label:
    """A place in a program. Jumps go forward only, so place() follows every use."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at = -1


_Jump = tuple[int, int, Label, Label]
"""code, k, where to when it holds, where to when it does not."""


class Assembler:
    """A program under construction; assemble() gives the instructions."""

    def __init__(self) -> None:
        self._items: list[Instruction | _Jump] = []

    def add(self, code: int, k: int = 0) -> None:
        """An instruction that is no jump. Errors: ProgramTooLong, as soon as that is sure."""
        if len(self._items) >= MAX_INSTRUCTIONS:
            raise ProgramTooLong(f"more than {MAX_INSTRUCTIONS} instructions")
        self._items.append(Instruction(code, 0, 0, k & 0xFFFFFFFF))

    def jump(self, code: int, k: int, then: Label | None, otherwise: Label | None = None) -> None:
        """A conditional jump; None is the next instruction."""
        following = Label()
        following.at = len(self._items) + 1
        self._items.append((code, k & 0xFFFFFFFF, then or following, otherwise or following))

    def go(self, target: Label) -> None:
        """An unconditional jump."""
        self._items.append((JA, 0, target, target))

    def place(self, label: Label) -> None:
        """Place the label before the next instruction."""
        label.at = len(self._items)

    def assemble(self) -> list[Instruction]:
        """Resolve the labels. Errors: ProgramTooLong."""
        sizes = [1] * len(self._items)
        starts = self._starts(sizes)
        # A far target costs the jump an instruction or two of its own, which may
        # push other targets out of reach: sizes only grow, so this ends.
        while self._grow(sizes, starts):
            starts = self._starts(sizes)
        if starts[-1] > MAX_INSTRUCTIONS:
            raise ProgramTooLong(f"{starts[-1]} instructions, {MAX_INSTRUCTIONS} is the most")
        return self._emit(sizes, starts)

    @staticmethod
    def _starts(sizes: list[int]) -> list[int]:
        starts, at = [], 0
        for size in sizes:
            starts.append(at)
            at += size
        starts.append(at)
        return starts

    def _grow(self, sizes: list[int], starts: list[int]) -> bool:
        grown = False
        for i, item in enumerate(self._items):
            if isinstance(item, Instruction) or item[0] == JA or sizes[i] == 3:
                continue
            after = starts[i] + 1
            far = (starts[item[2].at] - after > _REACH) + (starts[item[3].at] - after > _REACH)
            if 1 + far > sizes[i]:
                sizes[i] = 1 + far
                grown = True
        return grown

    def _emit(self, sizes: list[int], starts: list[int]) -> list[Instruction]:
        program: list[Instruction] = []
        for i, item in enumerate(self._items):
            if isinstance(item, Instruction):
                program.append(item)
                continue
            code, k, then, otherwise = item
            at = starts[i]
            assert min(then.at, otherwise.at) > i, "classic BPF jumps forward only"
            if code == JA:
                program.append(Instruction(JA, 0, 0, starts[then.at] - at - 1))
                continue
            # Far jumps follow the test in their own slots; a slot that a grown
            # jump no longer needs is filled as well, so that starts stay true.
            reach = [starts[then.at] - at - 1, starts[otherwise.at] - at - 1]
            tail: list[Instruction] = []
            for which in sorted((0, 1), key=lambda w: -reach[w]):
                if len(tail) < sizes[i] - 1:
                    slot = len(tail)
                    tail.append(Instruction(JA, 0, 0, reach[which] - slot - 1))
                    reach[which] = slot
            program.append(Instruction(code, reach[0], reach[1], k))
            program += tail
        return program


def pack(program: Iterable[Instruction]) -> bytes:
    """The program as an array of ``struct sock_filter``."""
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)
