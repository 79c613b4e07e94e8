"""The running kernel's type information (Documentation/bpf/btf.rst): field offsets and enums.

Read from /sys/kernel/btf/vmlinux, so a program that reads kernel structures
needs no headers and matches the running kernel.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from netkat.errors import KernelTooOld

PATH = "/sys/kernel/btf/vmlinux"

_HEADER = struct.Struct("=HBBIIIII")
_MAGIC = 0xEB9F
_STRUCT, _UNION, _ENUM = 4, 5, 6
_ARRAY_KIND, _FUNC_PROTO, _DATASEC, _VAR, _DECL_TAG, _ENUM64 = 3, 13, 15, 14, 17, 19
_SKIP = {1: 4, _ARRAY_KIND: 12, _VAR: 4, _DECL_TAG: 4}
"""Bytes behind the common header of kinds whose size does not depend on a count."""
_EACH = {_STRUCT: 12, _UNION: 12, _ENUM: 8, _FUNC_PROTO: 8, _DATASEC: 12, _ENUM64: 12}
"""Bytes behind it for each member."""
_TYPE = struct.Struct("=III")
_MEMBER = struct.Struct("=III")
_ENUMERATOR = struct.Struct("=Ii")


class KernelTypes:
    """Structures and enums that were asked for by name."""

    def __init__(self, structures: Iterable[str], enums: Iterable[str], path: str = PATH) -> None:
        """Errors: KernelTooOld if the kernel has no type information."""
        try:
            with open(path, "rb") as file:
                self._data = file.read()
        except OSError as error:
            raise KernelTooOld(
                f"the kernel has no type information ({path}: {error.strerror})",
                feature="BTF",
                needs="5.2 with CONFIG_DEBUG_INFO_BTF",
            ) from None
        magic, _, _, length, at, size, text_at, text_size = _HEADER.unpack_from(self._data)
        if magic != _MAGIC:
            raise KernelTooOld("the kernel's type information is in another form", feature="BTF")
        self._types = self._data[length + at : length + at + size]
        self._text = self._data[length + text_at : length + text_at + text_size]
        self._places: list[int] = [0]
        self._structures: dict[str, int] = {}
        self.enums: dict[str, dict[int, str]] = {}
        self._scan(set(structures), set(enums))

    def _scan(self, structures: set[str], enums: set[str]) -> None:
        wanted_structures = {self._place(name): name for name in structures}
        wanted_enums = {self._place(name): name for name in enums}
        types, at, unpack = self._types, 0, _TYPE.unpack_from
        while at < len(types):
            name, info, _ = unpack(types, at)
            kind, count = info >> 24 & 31, info & 0xFFFF
            self._places.append(at)
            if kind == _STRUCT and name in wanted_structures and count:
                self._structures.setdefault(wanted_structures[name], at)
            elif kind == _ENUM and name in wanted_enums:
                self.enums[wanted_enums[name]] = {
                    value: self._name(word)
                    for word, value in _ENUMERATOR.iter_unpack(types[at + 12 : at + 12 + 8 * count])
                }
            at += 12 + _SKIP.get(kind, 0) + _EACH.get(kind, 0) * count

    def _place(self, name: str) -> int:
        """Return a name's offset among the strings; -1 if no type has it."""
        return self._text.find(b"\0" + name.encode() + b"\0") + 1 or -1

    def _name(self, at: int) -> str:
        return self._text[at : self._text.index(b"\0", at)].decode(errors="replace")

    def offset(self, structure: str, *path: str) -> int:
        """Bytes from the structure's beginning to a field, through fields that are structures.

        Fields of unnamed structures and unions inside are found as in C.
        Errors: KernelTooOld where this kernel has no such field.
        """
        at = self._structures.get(structure)
        total = 0
        for field in path:
            found = None if at is None else next(self._find(at, field), None)
            if found is None:
                raise KernelTooOld(
                    f"this kernel's struct {structure} has no {'.'.join(path)}", feature="BTF"
                )
            total += found[0]
            at = self._structure_of(found[1])
        return total

    def _find(self, at: int, field: str) -> Iterator[tuple[int, int]]:
        _, info, _ = _TYPE.unpack_from(self._types, at)
        for number in range(info & 0xFFFF):
            name, kind, bits = _MEMBER.unpack_from(self._types, at + 12 + number * 12)
            if info >> 31:
                bits &= 0xFFFFFF  # the upper byte is a bit-field's size
            if name and self._name(name) == field:
                yield bits // 8, kind
            elif not name and (inner := self._structure_of(kind)) is not None:
                for offset, found in self._find(inner, field):
                    yield bits // 8 + offset, found

    def _structure_of(self, number: int) -> int | None:
        """Where a type's structure is described, through typedefs and qualifiers."""
        for _ in range(16):
            if not 0 < number < len(self._places):
                return None
            at = self._places[number]
            _, info, reference = _TYPE.unpack_from(self._types, at)
            kind = info >> 24 & 31
            if kind in (_STRUCT, _UNION):
                return at
            if kind not in (8, 9, 10, 11, 18):  # typedef, volatile, const, restrict, type tag
                return None
            number = reference
        return None
