"""Conversions of relayed data: CRLF, Telnet, lines.

Each keeps its state from one chunk to the next; a relay without options uses none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

Transform = Callable[[memoryview], memoryview]
"""Converts a chunk of data."""

_LF, _CR = 0x0A, 0x0D
IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240
"""RFC 854: "interpret as command" and the commands that carry something."""


class CrlfTransform:
    """Converts LF without a CR to CRLF, also across chunks."""

    def __init__(self) -> None:
        self._after_cr = False

    def __call__(self, view: memoryview) -> memoryview:
        """Return the converted chunk."""
        data = bytes(view)
        if not data:
            return view
        # A CR that ended the last chunk belongs to the LF that begins this one.
        kept = 1 if self._after_cr and data[0] == _LF else 0
        self._after_cr = data[-1] == _CR
        converted = data[kept:].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        return memoryview(data[:kept] + converted)


def escape_telnet(view: memoryview) -> memoryview:
    """Return data for a Telnet peer: byte 255 is doubled (RFC 854)."""
    data = bytes(view)
    return memoryview(data.replace(b"\xff", b"\xff\xff")) if IAC in data else view


class TelnetReader:
    """Removes Telnet commands from received data and refuses every option.

    ``answer`` gets the bytes to send back: DONT for WILL, WONT for DO. A reply to WONT or DONT
    could loop forever (RFC 1143).
    """

    def __init__(self, answer: Callable[[bytes], None]) -> None:
        self._answer = answer
        self._held = b""
        self._in_option = False  # a subnegotiation, which ends with IAC SE

    def __call__(self, view: memoryview) -> memoryview:
        """Return the chunk without commands; it may be empty."""
        data = self._held + bytes(view)
        self._held = b""
        if IAC not in data and not self._in_option:
            return memoryview(data)
        plain, answers = bytearray(), bytearray()
        at = 0
        while at < len(data):
            found = data.find(IAC, at)
            end = len(data) if found < 0 else found
            if not self._in_option:
                plain += data[at:end]
            if found < 0:
                break
            length = self._command_length(data, found)
            if found + length > len(data):
                self._held = data[found:]
                break
            self._obey(data[found : found + length], plain, answers)
            at = found + length
        if answers:
            self._answer(bytes(answers))
        return memoryview(plain)

    def _command_length(self, data: bytes, begin: int) -> int:
        if begin + 1 < len(data) and WILL <= data[begin + 1] <= DONT and not self._in_option:
            return 3
        return 2

    def _obey(self, command: bytes, plain: bytearray, answers: bytearray) -> None:
        kind = command[1]
        if self._in_option:
            self._in_option = kind != SE
        elif kind == IAC:
            plain.append(IAC)
        elif kind == SB:
            self._in_option = True
        elif kind == WILL:
            answers += bytes((IAC, DONT, command[2]))
        elif kind == DO:
            answers += bytes((IAC, WONT, command[2]))


def lines(view: memoryview) -> Iterator[memoryview]:
    """Split the chunk after each LF."""
    data, begin = bytes(view), 0
    while begin < len(data):
        end = data.find(b"\n", begin) + 1 or len(data)
        yield view[begin:end]
        begin = end
