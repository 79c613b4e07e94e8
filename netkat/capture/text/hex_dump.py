"""Packet bytes as hex and ASCII (-x, -X, -A)."""

from __future__ import annotations

from netkat.capture.text.context import Style

_PRINTABLE = bytes(code if 0x20 < code < 0x7F else 0x2E for code in range(256))
_TEXT = bytes(code if 0x20 <= code < 0x7F or code in (9, 10) else 0x2E for code in range(256))


def hexadecimal(data: bytes, *, ascii_column: bool, indent: str = "\t") -> str:
    """Return lines of 16 bytes, each beginning with a newline."""
    lines = []
    for at in range(0, len(data), 16):
        part = data[at : at + 16]
        pairs = part.hex(" ", -2)
        if ascii_column:
            # tcpdump prints ten columns of five characters, then two blanks.
            lines.append(f"\n{indent}0x{at:04x}:  {pairs:<39}  {_ascii(part)}")
        else:
            lines.append(f"\n{indent}0x{at:04x}:  {pairs}")
    return "".join(lines)


def undecoded(style: Style, data: bytes, at: int, end: int) -> str:
    """Return the bytes of what no dissector prints, unless -x prints the packet's bytes anyway."""
    if style.dump or style.quiet:
        return ""
    return hexadecimal(data[at : max(end, at)], ascii_column=True)


def text(data: bytes) -> str:
    """Return the bytes as text with their line ends (-A).

    A lone carriage return would let a peer overwrite the line, so it is printed as a dot. A
    carriage return at the very end may be half of a line end and is omitted, as in tcpdump.
    """
    return "\n" + data.removesuffix(b"\r").replace(b"\r\n", b"\n").translate(_TEXT).decode("ascii")


def _ascii(part: bytes) -> str:
    return part.translate(_PRINTABLE).decode("ascii")
