"""The assembler, run in the machine of tests/helpers and judged by the kernel's own checker."""

from __future__ import annotations

import ctypes
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netkat.bpf.filters.cbpf import (
    JEQ,
    LD_B,
    LD_IMM,
    LD_MEM,
    MAX_INSTRUCTIONS,
    RET,
    ST,
    Assembler,
    Instruction,
    Label,
    ProgramTooLong,
    pack,
)
from netkat.bpf.filters.range_search import ACCEPT, search
from tests.helpers.cbpf_machine import Frame, check, run

SO_ATTACH_FILTER = 26


def attach(program: list[Instruction]) -> None:
    """To a UDP socket: the kernel's checker needs no privilege."""
    packed = ctypes.create_string_buffer(pack(program))

    class Fprog(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    fprog = Fprog(len(program), ctypes.addressof(packed))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, bytes(fprog))


def byte(value: int) -> Frame:
    return Frame(bytes([value]), 0)


def test_packs_as_struct_sock_filter() -> None:
    assert pack([Instruction(0x15, 1, 2, 0x01020304)]).hex(" ") in (
        "15 00 01 02 04 03 02 01",
        "00 15 01 02 01 02 03 04",
    )


@pytest.mark.parametrize("padding", [0, 1, 252, 253, 254, 255, 256, 257, 300, 2000])
@pytest.mark.parametrize("far_first", [True, False])
def test_jumps_reach_any_distance(padding: int, far_first: bool) -> None:
    """Both targets at every distance around the 255 that a conditional jump has."""
    asm, then, otherwise = Assembler(), Label(), Label()
    asm.add(LD_B, 0)
    asm.jump(JEQ, 7, then, otherwise)
    for label, value in sorted(
        [(then, 1), (otherwise, 2)], key=lambda pair: (pair[0] is then) is far_first
    ):
        for _ in range(padding):
            asm.add(LD_IMM, 0)
        asm.place(label)
        asm.add(RET, value)
    program = asm.assemble()
    check(program)
    attach(program)
    assert run(program, byte(7)) == 1
    assert run(program, byte(8)) == 2


def test_chains_of_jumps_that_push_each_other_out_of_reach() -> None:
    asm, end = Assembler(), Label()
    asm.add(LD_B, 0)
    for value in range(250):
        asm.jump(JEQ, value, end)
    for _ in range(120):
        asm.add(LD_IMM, 0)
    asm.add(RET, 0)
    asm.place(end)
    asm.add(RET, 1)
    program = asm.assemble()
    check(program)
    attach(program)
    assert [run(program, byte(value)) for value in (0, 120, 249, 250)] == [1, 1, 1, 0]


def test_too_long_is_said() -> None:
    asm = Assembler()
    for _ in range(MAX_INSTRUCTIONS):
        asm.add(LD_IMM, 0)
    with pytest.raises(ProgramTooLong):
        asm.add(RET, 0)
    asm, end = Assembler(), Label()
    asm.add(LD_B, 0)
    for value in range(3000):
        asm.jump(JEQ, value, end)
    asm.place(end)
    asm.add(RET, 0)
    with pytest.raises(ProgramTooLong):
        asm.assemble()


def test_backward_jumps_are_refused() -> None:
    asm, back = Assembler(), Label()
    asm.place(back)
    asm.add(LD_B, 0)
    asm.go(back)
    asm.add(RET, 0)
    with pytest.raises(AssertionError, match="forward"):
        asm.assemble()


def test_the_machine_refuses_what_the_kernel_refuses() -> None:
    """A test of the test's own judge: unwritten memory."""
    program = [Instruction(LD_MEM, 0, 0, 3), Instruction(RET, 0, 0, 0)]
    with pytest.raises(OSError, match="Invalid argument"):
        attach(program)
    with pytest.raises(AssertionError, match="before it was written"):
        check(program)


@given(st.dictionaries(st.integers(0, 255), st.booleans(), max_size=60), st.integers(0, 255))
def test_search_finds_exactly_its_values(cases: dict[int, bool], value: int) -> None:
    """Values with a further test (the value is even) and without."""
    asm = Assembler()
    asm.add(LD_B, 0)
    asm.add(ST, 0)

    def even(yes: Label, no: Label) -> None:
        asm.add(LD_MEM, 0)
        asm.jump(0x45, 1, no, yes)

    miss = Label()
    search(asm, {number: even if tested else None for number, tested in cases.items()}, miss)
    asm.place(miss)
    asm.add(RET, 5)
    program = asm.assemble()
    check(program)
    found = value in cases and (not cases[value] or value % 2 == 0)
    assert run(program, byte(value)) == (ACCEPT if found else 5)
