"""Binary search over constants in classic BPF: the value looked for is in A."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from netkat.bpf.cbpf import JEQ, JGE, JGT, RET, Assembler, Label

ACCEPT = 0xFFFFFFFF
"""Returned by a filter: as many bytes of the frame as there are."""

LEAF, BARE_LEAF = 4, 8
"""Values tested one after another at the end of the search, with tests of their own and
without. Each leaf returns by itself, so that its jumps stay within reach."""

Test = Callable[[Label, Label], None]
"""Emits what else must hold, ending in a jump to its first label if so, to its second if not."""


class Leaf:
    """The end of one branch: ``yes`` accepts, ``no`` goes to ``miss`` (None rejects)."""

    def __init__(self, assembler: Assembler, miss: Label | None) -> None:
        self.assembler, self.miss = assembler, miss
        self.yes, self.no = Label(), Label()

    def close(self) -> None:
        """Emit both ends."""
        self.assembler.place(self.yes)
        self.assembler.add(RET, ACCEPT)
        self.assembler.place(self.no)
        if self.miss is None:
            self.assembler.add(RET, 0)
        else:
            self.assembler.go(self.miss)


def search(
    assembler: Assembler, cases: Mapping[int, Test | None], miss: Label | None = None
) -> None:
    """Accept when A is a key of ``cases`` and its test, if it has one, holds; else ``miss``."""
    size = LEAF if any(cases.values()) else BARE_LEAF
    _split(assembler, sorted(cases.items(), key=lambda case: case[0]), miss, _values, size)


def search_ranges(assembler: Assembler, ranges: Sequence[tuple[int, int]]) -> None:
    """Accept when A is within one of the ranges (both ends included); else reject."""
    _split(assembler, sorted(ranges), None, _ranges, LEAF)


def _split(
    assembler: Assembler,
    cases: Sequence[tuple[int, object]],
    miss: Label | None,
    leaf: Callable[[Leaf, Sequence[tuple[int, object]]], None],
    size: int,
) -> None:
    if len(cases) <= size:
        end = Leaf(assembler, miss)
        if cases:
            leaf(end, cases)
        else:
            assembler.go(end.no)
        end.close()
        return
    # Whole leaves on the left side: half-filled ones would cost room.
    middle = (len(cases) // 2 + size - 1) // size * size
    right = Label()
    assembler.jump(JGE, cases[middle][0], right)
    _split(assembler, cases[:middle], miss, leaf, size)
    assembler.place(right)
    _split(assembler, cases[middle:], miss, leaf, size)


def _values(leaf: Leaf, cases: Sequence[tuple[int, object]]) -> None:
    assembler = leaf.assembler
    bodies: list[tuple[Label, Test]] = []
    for value, test in cases:
        label = leaf.yes
        if callable(test):
            label = Label()
            bodies.append((label, test))
        last = value == cases[-1][0]
        assembler.jump(JEQ, value, label, leaf.no if last else None)
    for label, test in bodies:
        assembler.place(label)
        test(leaf.yes, leaf.no)


def _ranges(leaf: Leaf, ranges: Sequence[tuple[int, object]]) -> None:
    assembler = leaf.assembler
    tests: list[tuple[Label, int]] = []
    for low, high in reversed(ranges):
        assert isinstance(high, int)
        label = Label()
        tests.append((label, high))
        assembler.jump(JGE, low, label, leaf.no if low == ranges[0][0] else None)
    for label, high in tests:
        assembler.place(label)
        assembler.jump(JGT, high, leaf.no, leaf.yes)
