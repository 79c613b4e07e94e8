"""Binary search over constants in classic BPF; the value looked for is in A."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from netkat.bpf.filters.cbpf import JEQ, JGE, RET, Assembler, Label

ACCEPT: Final = 0xFFFFFFFF
"""What a filter returns to keep the whole frame."""

_LEAF, _LEAF_WITHOUT_TESTS = 4, 8
"""Values that are compared one after another where the search ends. A leaf has its own two
returns, so that its jumps are short."""

Test = Callable[[Label, Label], None]
"""Emits a further test, which jumps to its first label on success and to its second if not."""


def search(
    asm: Assembler, cases: Mapping[int, Test | None], otherwise: Label | None = None
) -> None:
    """Accept if A is a key of ``cases`` whose test, if any, succeeds.

    Else go on at ``otherwise``; None rejects.
    """
    size = _LEAF if any(cases.values()) else _LEAF_WITHOUT_TESTS
    _split(asm, sorted(cases.items(), key=lambda case: case[0]), otherwise, size)


def _split(
    asm: Assembler, cases: Sequence[tuple[int, Test | None]], otherwise: Label | None, size: int
) -> None:
    if len(cases) <= size:
        _leaf(asm, cases, otherwise)
        return
    # Full leaves on the left: half-filled ones would cost room.
    middle = (len(cases) // 2 + size - 1) // size * size
    right = Label()
    asm.jump(JGE, cases[middle][0], right)
    _split(asm, cases[:middle], otherwise, size)
    asm.place(right)
    _split(asm, cases[middle:], otherwise, size)


def _leaf(
    asm: Assembler, cases: Sequence[tuple[int, Test | None]], otherwise: Label | None
) -> None:
    yes, no = Label(), Label()
    tests: list[tuple[Label, Test]] = []
    for value, test in cases:
        found = yes
        if test is not None:
            found = Label()
            tests.append((found, test))
        asm.jump(JEQ, value, found, no if value == cases[-1][0] else None)
    if not cases:
        asm.go(no)
    for label, test in tests:
        asm.place(label)
        test(yes, no)
    asm.place(yes)
    asm.add(RET, ACCEPT)
    asm.place(no)
    if otherwise is None:
        asm.add(RET, 0)
    else:
        asm.go(otherwise)
