"""A classic BPF machine as the kernel's (net/core/filter.c): checks a program, then runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

HOST, BROADCAST, MULTICAST, OTHERHOST, OUTGOING = range(5)
_MASK = 0xFFFFFFFF
_AD, _NET, _LL = -0x1000, -0x100000, -0x200000
_WIDTH = {0x00: 4, 0x08: 2, 0x10: 1}
_CONDITIONS: dict[int, Callable[[int, int], bool]] = {
    0x10: lambda a, b: a == b,
    0x20: lambda a, b: a > b,
    0x30: lambda a, b: a >= b,
    0x40: lambda a, b: bool(a & b),
}
_OPERATIONS: dict[int, Callable[[int, int], int]] = {
    0x00: lambda a, b: a + b,
    0x10: lambda a, b: a - b,
    0x20: lambda a, b: a * b,
    0x30: lambda a, b: a // b,
    0x40: lambda a, b: a | b,
    0x50: lambda a, b: a & b,
    0x60: lambda a, b: a << b,
    0x70: lambda a, b: a >> b,
    0x90: lambda a, b: a % b,
    0xA0: lambda a, b: a ^ b,
}

Program = Sequence[tuple[int, int, int, int]]


@dataclass(frozen=True)
class Frame:
    """What a packet socket's filter sees: the bytes and the metadata beside them."""

    data: bytes
    protocol: int
    packet_type: int = HOST
    vlan: int | None = None
    network: int = 14

    def ancillary(self, number: int) -> int:
        match number:
            case 0:
                return self.protocol
            case 4:
                return self.packet_type
            case 44:
                return self.vlan or 0
            case 48:
                return int(self.vlan is not None)
        raise AssertionError(f"ancillary load {number}")


class LoadBeyondEndError(Exception):
    """The kernel ends the program with 0."""


def check(program: Program) -> None:
    """What the kernel's bpf_check_classic() refuses fails here."""
    assert 0 < len(program) <= 4096, f"{len(program)} instructions"
    assert program[-1][0] in (0x06, 0x16), "does not end in a return"
    known = [0xFFFF] * len(program)
    written = 0
    for at, (code, jt, jf, k) in enumerate(program):
        written &= known[at]  # as the kernel has it: a return does not forget what was written
        assert 0 <= k <= _MASK
        match code & 0x07:
            case 0x02 | 0x03:
                assert k < 16
                written |= 1 << k
            case 0x00 | 0x01 if code & 0xE0 == 0x60:
                assert written >> k & 1, f"{at}: M[{k}] read before it was written"
            case 0x05:
                targets = [at + 1 + k] if code == 0x05 else [at + 1 + jt, at + 1 + jf]
                for target in targets:
                    assert target < len(program), f"{at}: jump out of the program"
                    known[target] &= written
                written = 0xFFFF


def run(program: Program, frame: Frame) -> int:
    """What the program returns for the frame: bytes of it to keep."""
    try:
        return _Machine(program, frame).run()
    except LoadBeyondEndError:
        return 0


class _Machine:
    def __init__(self, program: Program, frame: Frame) -> None:
        self.program, self.frame = program, frame
        self.a = self.x = 0
        self.memory = [0] * 16

    def run(self) -> int:
        at = 0
        while True:
            code, jt, jf, k = self.program[at]
            at += 1
            match code & 0x07:
                case 0x00:
                    self.a = self.value(code, k)
                case 0x01:
                    self.x = self.value(code, k)
                case 0x02:
                    self.memory[k] = self.a
                case 0x03:
                    self.memory[k] = self.x
                case 0x04:
                    operand = self.x if code & 0x08 else k
                    self.a = _OPERATIONS[code & 0xF0](self.a, operand) & _MASK
                case 0x05 if code == 0x05:
                    at += k
                case 0x05:
                    operand = self.x if code & 0x08 else k
                    at += jt if _CONDITIONS[code & 0xF0](self.a, operand) else jf
                case 0x06:
                    return self.a if code == 0x16 else k
                case 0x07 if code == 0x07:
                    self.x = self.a
                case 0x07 if code == 0x87:
                    self.a = self.x
                case _:
                    raise AssertionError(f"unknown code {code:#x}")

    def value(self, code: int, k: int) -> int:
        match code & 0xE0:
            case 0x00:
                return k
            case 0x20:
                return self.load(_signed(k), _WIDTH[code & 0x18])
            case 0x40:
                return self.load(_signed(self.x + k & _MASK), _WIDTH[code & 0x18])
            case 0x60:
                return self.memory[k]
            case 0x80:
                return len(self.frame.data)
            case 0xA0:
                return (self.load(_signed(k), 1) & 15) * 4
        raise AssertionError(f"unknown load {code:#x}")

    def load(self, offset: int, width: int) -> int:
        if _NET > offset >= _LL:
            offset -= _LL
        elif _AD > offset >= _NET:
            offset += self.frame.network - _NET
        elif offset >= _AD and offset < 0:
            return self.frame.ancillary(offset - _AD)
        data = self.frame.data[offset : offset + width] if offset >= 0 else b""
        if len(data) < width:
            raise LoadBeyondEndError
        return int.from_bytes(data, "big")


def _signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value
