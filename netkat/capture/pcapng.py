"""Write pcapng (IETF draft-ietf-opsawg-pcapng): interfaces, nanoseconds, counts, comments."""

from __future__ import annotations

import os
import platform
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from netkat.capture.packet import Packet
from netkat.stack.records import Form, RecordCopier
from netkat.wire.ring import Block

SECTION, INTERFACE, SIMPLE, STATISTICS, ENHANCED, OLD_PACKET = (
    0x0A0D0D0A, 1, 3, 5, 6, 2,
)  # fmt: skip
BYTE_ORDER = 0x1A2B3C4D

OPT_COMMENT, OPT_END = 1, 0
SHB_HARDWARE, SHB_OS, SHB_APPLICATION = 2, 3, 4
IF_NAME, IF_TSRESOL, IF_FILTER, IF_OS, IF_TSOFFSET = 2, 9, 11, 12, 14
EPB_FLAGS = 2
ISB_START, ISB_END, ISB_RECEIVED, ISB_DROPPED, ISB_ACCEPTED, ISB_OS_DROPPED = 2, 3, 4, 5, 6, 7
INBOUND, OUTBOUND = 1, 2

_EPB = struct.Struct("=7I")
_TOTAL = struct.Struct("=I")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")  # by length % 4


SENT_BY_NETKAT = "sent by netkat"
"""The comment that stands for Packet.sent_by_netkat."""


class InterfaceCounts(NamedTuple):
    """The statistics of one interface at the end of a capture."""

    received: int
    """Frames that passed the filter."""
    dropped: int
    """Frames of these that were dropped because the ring was full."""


def option(code: int, value: bytes) -> bytes:
    """Return an option, padded to 32 bits."""
    value = value[:0xFFFF]
    return struct.pack("=HH", code, len(value)) + value + _PADDING[len(value) & 3]


def block(kind: int, body: bytes) -> bytes:
    """Return a block; the length of ``body`` must be a multiple of 4."""
    total = len(body) + 12
    return struct.pack("=II", kind, total) + body + _TOTAL.pack(total)


_END = struct.pack("=HH", OPT_END, 0)
_DIRECTION = {
    "in": option(EPB_FLAGS, struct.pack("=I", INBOUND)) + _END,
    "out": option(EPB_FLAGS, struct.pack("=I", OUTBOUND)) + _END,
    "": b"",
}


class PcapngFormat:
    """Turns packets into the bytes of a pcapng file. An interface is described before its first
    packet, unless it is given to the constructor."""

    def __init__(
        self,
        snaplen: int,
        *,
        filter_text: str = "",
        counts: Callable[[], dict[str, InterfaceCounts]] = dict,
        start_ns: int = 0,
        comment: str = "",
        interfaces: Sequence[tuple[str, int]] = (),
    ) -> None:
        """``counts`` is called at the end of a file; ``start_ns`` is when the capture began.

        ``interfaces`` are the captured ones with their link types: they are in the file with
        their counts even if they have no packets, like "any".
        """
        self.copier: RecordCopier | None = None
        self._snaplen, self._filter, self._counts = snaplen, filter_text, counts
        self._start, self._last, self._comment = start_ns, start_ns, comment
        self._watched = interfaces
        self._interfaces: dict[tuple[str, int], int] = {}

    def begin(self) -> bytes:
        """Return the section header; also called for each file of a rotation."""
        self._interfaces.clear()
        options = option(SHB_HARDWARE, platform.machine().encode())
        options += option(SHB_OS, f"{platform.system()} {platform.release()}".encode())
        options += option(SHB_APPLICATION, b"netkat")
        if self._comment:
            options += option(OPT_COMMENT, self._comment.encode())
        parts = [block(SECTION, struct.pack("=IHHq", BYTE_ORDER, 1, 0, -1) + options + _END)]
        for name, linktype in self._watched:
            self._describe(name, linktype, parts)
        return b"".join(parts)

    def _describe(self, name: str, linktype: int, parts: list[bytes]) -> int:
        number = self._interfaces[name, linktype] = len(self._interfaces)
        options = option(IF_NAME, os.fsencode(name)) if name else b""
        options += option(IF_TSRESOL, b"\x09")
        if self._filter:
            options += option(IF_FILTER, b"\0" + self._filter.encode(errors="replace"))
        options += option(IF_OS, f"{platform.system()} {platform.release()}".encode())
        body = struct.pack("=HHI", linktype, 0, self._snaplen) + options + _END
        parts.append(block(INTERFACE, body))
        return number

    def packets(self, packets: Iterable[Packet]) -> bytes:
        """Return packet blocks, with a description before the first packet of each interface."""
        parts: list[bytes] = []
        for packet in packets:
            number = self._interfaces.get((packet.interface, packet.linktype))
            if number is None:
                number = self._describe(packet.interface, packet.linktype, parts)
            kept, options = len(packet.raw), _DIRECTION[packet.direction]
            if packet.comment or packet.sent_by_netkat:
                options = _comments(packet) + (options or _END)
            total = 32 + kept + (-kept & 3) + len(options)
            time = packet.time_ns & 0xFFFFFFFFFFFFFFFF
            self._last = max(self._last, time)
            parts += (
                _EPB.pack(
                    ENHANCED, total, number, time >> 32, time & 0xFFFFFFFF, kept, packet.length
                ),
                packet.raw,
                _PADDING[kept & 3],
                options,
                _TOTAL.pack(total),
            )
        return b"".join(parts)

    def block(self, filled: Block, interface: str, linktype: int) -> memoryview | bytes | None:
        """Return the blocks of a ring block, valid until the next call; None: use packets()."""
        if self.copier is None or filled.cooked:
            return None
        described: list[bytes] = []
        number = self._interfaces.get((interface, linktype))
        if number is None:
            number = self._describe(interface, linktype, described)
        self._last = max(self._last, filled.last_ns)
        records = self.copier.copy(filled.packets, filled.count, Form.PCAPNG, number)
        return b"".join((*described, records)) if described else records

    def end(self) -> bytes:
        """Return the interface statistics of the kernel."""
        counts = self._counts()
        parts = []
        for (name, _), number in self._interfaces.items():
            if name not in counts:
                continue
            received, dropped = counts[name]
            options = b"".join(
                option(code, _stamp(value))
                for code, value in ((ISB_START, self._start), (ISB_END, self._last))
                if value
            )
            for code, value in (
                (ISB_RECEIVED, received),
                (ISB_ACCEPTED, received),
                (ISB_OS_DROPPED, dropped),
            ):
                options += option(code, struct.pack("=Q", value))
            body = struct.pack("=I", number) + _stamp(self._last) + options + _END
            parts.append(block(STATISTICS, body))
        return b"".join(parts)

    def whole(self, data: bytes | memoryview) -> tuple[int, int]:
        """Return how many bytes are complete blocks, and the number of their packets."""
        at = packets = 0
        while at + 12 <= len(data):
            kind, length = struct.unpack_from("=II", data, at)
            if at + length > len(data) or not length:
                break
            at, packets = at + length, packets + (kind == ENHANCED)
        return at, packets


def _comments(packet: Packet) -> bytes:
    texts = [SENT_BY_NETKAT] * packet.sent_by_netkat + [packet.comment] * bool(packet.comment)
    return b"".join(option(OPT_COMMENT, text.encode(errors="replace")) for text in texts)


def _stamp(time: int) -> bytes:
    return struct.pack("=II", time >> 32 & 0xFFFFFFFF, time & 0xFFFFFFFF)
