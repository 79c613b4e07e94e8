"""The printer: a style, and what lines remember of the lines before them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from netkat.capture import linktype as lt
from netkat.capture.text import dump
from netkat.capture.text.number_names import service
from netkat.capture.text.style import Style

if TYPE_CHECKING:
    from netkat.capture.packet import Packet

_CONVERSATIONS = 1 << 16
"""TCP conversations whose first sequence numbers are remembered; the oldest goes first."""

_DEPTH = 16
"""Headers inside headers (tunnels, quoted packets) before a packet is called hostile."""

_DIM, _RED, _GREEN, _PLAIN = "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[0m"


class Ends(NamedTuple):
    """The two addresses that a transport header is printed between."""

    source: str
    target: str
    packed: bytes
    """Both addresses as they are in the header."""
    shown: bool = True
    """False when the addresses were printed already (behind an extension header)."""
    fragment: bool = False
    """Only the first part of the payload is here, so no checksum can be right."""


class Truncated(Exception):
    """The packet ends before the header does; the argument is the protocol's name."""


class Printer:
    """Prints packets as lines. One for each output: it numbers lines and keeps sequence numbers."""

    def __init__(self, style: Style | None = None) -> None:
        # It needs this module's names, so it cannot be imported above.
        from netkat.capture.text import link_header

        self.style = style or Style()
        self._frame, self._header_length = link_header.frame, link_header.header_length
        self.conversations: dict[bytes, tuple[int, int]] = {}
        self.depth = 0
        self._lines = 0
        self._first = self._last = 0
        self._second, self._second_text = -1, ""

    def line(self, packet: Packet) -> str:
        """The packet's line or lines, without the last newline."""
        style = self.style
        parts = []
        if style.number:
            parts.append(f"{self._lines + 1:5d}  ")
        stamp = self._stamp(packet.time_ns)
        if stamp:
            parts.append(f"{_DIM}{stamp}{_PLAIN} " if style.color else f"{stamp} ")
        if style.interface and packet.linktype != lt.LINUX_SLL2:
            way = packet.direction.capitalize()
            parts.append(f"{packet.interface:<5} {way:<3} ")
        text = self.body(packet)
        parts.append(_colored(text) if style.color else text)
        if packet.segment and packet.length > packet.segment:
            parts.append(f" [super-frame, segments of {packet.segment}]")
        if packet.ours:
            parts.append(" [netkat]")
        if packet.drop:
            drop = f" [dropped: {packet.drop}]"
            parts.append(f"{_RED}{drop}{_PLAIN}" if style.color else drop)
        if packet.comment and style.verbose:
            parts.append(f"\n\t{printable(packet.comment)}")
        if style.dump:
            parts.append(self._dump(packet))
        self._lines += 1
        return "".join(parts)

    def body(self, packet: Packet) -> str:
        """What the packet says, without time and marks."""
        self.depth = 0
        return self._frame(self, packet)

    def port(self, number: int, transport: str) -> str:
        """A port as the style wants it."""
        return str(number) if self.style.numeric else service(number, transport)

    def remember(self, key: bytes, first: tuple[int, int]) -> None:
        """Keep a TCP conversation's first sequence numbers."""
        conversations = self.conversations
        if len(conversations) >= _CONVERSATIONS:
            del conversations[next(iter(conversations))]
        conversations[key] = first

    def enter(self) -> None:
        """Go one header deeper. Errors: Truncated("…") when a packet is nothing but headers."""
        self.depth += 1
        if self.depth > _DEPTH:
            raise Truncated("too many headers")

    def _stamp(self, now: int) -> str:
        form = self.style.stamp
        if form == 1:
            return ""
        if not self._lines:
            self._first = self._last = now
        seconds, fraction = divmod(now, 1_000_000_000)
        if form in (3, 5):
            since = now - (self._last if form == 3 else self._first)
            self._last = now
            sign, since = ("-", -since) if since < 0 else (" ", since)
            seconds, fraction = divmod(since, 1_000_000_000)
            minutes, second = divmod(seconds, 60)
            clock = f"{sign}{minutes // 60:02}:{minutes % 60:02}:{second:02}"
        elif form == 2:
            clock = str(seconds)
        else:
            # Most packets share a second with the one before.
            if seconds != self._second:
                form_text = "%H:%M:%S" if form == 0 else "%Y-%m-%d %H:%M:%S"
                self._second, self._second_text = seconds, _clock(form_text, seconds)
            clock = self._second_text
        if self.style.nanoseconds:
            return f"{clock}.{fraction:09}"
        return f"{clock}.{fraction // 1000:06}"

    def _dump(self, packet: Packet) -> str:
        kind = self.style.dump
        data = packet.raw
        if kind in ("x", "X", "A"):
            data = data[self._header_length(packet) :]
        if kind == "A":
            return dump.text(data)
        return dump.hexadecimal(data, ascii_column=kind[0] == "X")


def printable(text: str) -> str:
    """Text from outside, with nothing in it that a terminal would obey."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def _clock(form: str, seconds: int) -> str:
    try:
        return time.strftime(form, time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        # A file's own time stamps may lie beyond what the C library can say.
        return f"[{seconds} s]"


def _colored(text: str) -> str:
    if "Flags [R" in text or "unreachable" in text or "[bad" in text:
        return f"{_RED}{text}{_PLAIN}"
    if "Flags [S" in text:
        return f"{_GREEN}{text}{_PLAIN}"
    return text
