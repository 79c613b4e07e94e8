"""Hex and ASCII under a line (-x, -X, -A)."""

from __future__ import annotations

_PRINTABLE = bytes(code if 0x20 < code < 0x7F else 0x2E for code in range(256))
_TEXT = bytes(code if 0x20 <= code < 0x7F or code in (9, 10) else 0x2E for code in range(256))


def hexadecimal(data: bytes, *, ascii_column: bool, indent: str = "\t") -> str:
    """Lines of 16 bytes, each beginning with a newline."""
    lines = []
    for at in range(0, len(data), 16):
        part = data[at : at + 16]
        pairs = part.hex(" ", -2)
        if ascii_column:
            # tcpdump leaves ten columns of five, then two blanks.
            lines.append(f"\n{indent}0x{at:04x}:  {pairs:<39}  {_ascii(part)}")
        else:
            lines.append(f"\n{indent}0x{at:04x}:  {pairs}")
    return "".join(lines)


def _ascii(part: bytes) -> str:
    return part.translate(_PRINTABLE).decode("ascii")


def text(data: bytes) -> str:
    """-A: the bytes as text, each line end kept.

    A carriage return alone would let a peer write over the line, and is a dot; the last
    byte of all may be the half of a line end, and is left out, as in tcpdump.
    """
    return "\n" + data.removesuffix(b"\r").replace(b"\r\n", b"\n").translate(_TEXT).decode("ascii")
