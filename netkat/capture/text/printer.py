"""The printer: one packet as a line, with its time, marks and bytes as the style wants them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from netkat.capture import linktype as lt
from netkat.capture.text import hex_dump
from netkat.capture.text.common_segment import common_segment
from netkat.capture.text.context import PrinterState, Style
from netkat.capture.text.dispatch import link
from netkat.capture.text.escape import escape
from netkat.capture.text.ethernet import header_length

if TYPE_CHECKING:
    from netkat.capture.packet import Packet

_DIM, _RED, _GREEN, _PLAIN = "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[0m"
_LINK_HEADERS = {lt.LINUX_SLL: 16, lt.LINUX_SLL2: 20, lt.NULL: 4, lt.LOOP: 4}


class Printer(PrinterState):
    """Prints packets as lines. One for each output: it numbers lines and keeps sequence numbers."""

    def __init__(self, style: Style | None = None) -> None:
        super().__init__(style)
        style = self.style
        self._short = not (style.verbose or style.quiet or style.link)
        self._plain = not (style.number or style.color or style.dump or style.interface)
        self._lines = 0
        self._first = self._last = 0
        self._second, self._second_text = -1, ""

    def line(self, packet: Packet) -> str:
        """Return the packet's line or lines, without the last newline."""
        style = self.style
        if self._plain and not (
            packet.segment or packet.sent_by_netkat or packet.drop or packet.comment
        ):
            stamp, text = self._stamp(packet.time_ns), self.body(packet)
            self._lines += 1
            return f"{stamp} {text}" if stamp else text
        parts = []
        if style.number:
            parts.append(f"{self._lines + 1:5d}  ")
        stamp = self._stamp(packet.time_ns)
        if stamp:
            parts.append(f"{_DIM}{stamp}{_PLAIN} " if style.color else f"{stamp} ")
        if style.interface and packet.linktype != lt.LINUX_SLL2:
            parts.append(f"{escape(packet.interface):<5} {packet.direction.capitalize():<3} ")
        text = self.body(packet)
        parts.append(_colored(text) if style.color else text)
        if packet.segment and packet.length > packet.segment:
            parts.append(f" [GSO/GRO, segments of {packet.segment}]")
        if packet.sent_by_netkat:
            parts.append(" [netkat]")
        if packet.drop:
            drop = f" [dropped: {escape(packet.drop)}]"
            parts.append(f"{_RED}{drop}{_PLAIN}" if style.color else drop)
        if packet.comment and style.verbose:
            parts += [f"\n\t{escape(comment)}" for comment in packet.comment.split("\n")]
        if style.dump:
            parts.append(self._dump(packet))
        self._lines += 1
        return "".join(parts)

    def body(self, packet: Packet) -> str:
        """Return the text of the packet itself, without time and marks."""
        self.depth = 0
        self.interface = packet.interface
        data, end = packet.raw, packet.length
        if not data:
            return "[nothing captured]" if end else "[Invalid header: caplen==0, len==0]"
        if self._short and packet.linktype == lt.ETHERNET:
            common = common_segment(self, data, end)
            if common is not None:
                return common
        text = link(self, packet.linktype, data, 0, end)
        if text is None:
            dump = hex_dump.hexadecimal(data, ascii_column=True)
            return f"link-type {packet.linktype}, length {end}: {dump}"
        return text

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
            # Most packets are of the same second as the packet before.
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
            if packet.linktype == lt.ETHERNET:
                data = data[header_length(data) :]
            else:
                data = data[_LINK_HEADERS.get(packet.linktype, 0) :]
        if kind == "A":
            return hex_dump.text(data)
        return hex_dump.hexadecimal(data, ascii_column=kind[0] == "X")


def _clock(form: str, seconds: int) -> str:
    try:
        return time.strftime(form, time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        # Time stamps of a file may be outside the C library's range.
        return f"[{seconds} s]"


def _colored(text: str) -> str:
    if "Flags [R" in text or "unreachable" in text or "[bad" in text:
        return f"{_RED}{text}{_PLAIN}"
    if "Flags [S" in text:
        return f"{_GREEN}{text}{_PLAIN}"
    return text
