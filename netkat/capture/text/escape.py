"""The one place where text from packets, files and the network becomes printable."""

from __future__ import annotations


def escape(text: str | bytes) -> str:
    """Return text in which every character that could control a terminal is escaped (``\\x1b``).

    Bytes are read as UTF-8; those that are not UTF-8 are escaped one by one.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(ord(char)) for char in text)


def _escaped(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00  # a byte that was not UTF-8
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
