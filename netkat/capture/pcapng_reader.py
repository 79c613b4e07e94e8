"""Read pcapng files, in either byte order, with any number of sections."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from netkat.capture import linktype as lt
from netkat.capture.packet import Packet
from netkat.capture.pcap import MAX_PACKET, CaptureFileError, CaptureStream, read_exactly
from netkat.capture.pcapng import (
    BYTE_ORDER,
    ENHANCED,
    EPB_FLAGS,
    IF_NAME,
    IF_TSOFFSET,
    IF_TSRESOL,
    INBOUND,
    INTERFACE,
    OLD_PACKET,
    OPT_COMMENT,
    OPT_END,
    OUTBOUND,
    SECTION,
    SENT_BY_NETKAT,
    SIMPLE,
)

MAX_BLOCK = MAX_PACKET + (1 << 20)


@dataclass(slots=True)
class _Interface:
    linktype: int
    snaplen: int
    name: str = ""
    units: int = 1_000_000
    """Time stamp units in a second."""
    offset: int = 0
    """Seconds added to every time stamp."""

    def nanoseconds(self, stamp: int) -> int:
        return stamp * 1_000_000_000 // self.units + self.offset * 1_000_000_000


class PcapngReader:
    """Iterates over the packets of a pcapng file, after its first 4 bytes."""

    def __init__(self, file: CaptureStream) -> None:
        self._file = file
        self._order = "<"
        self._interfaces: list[_Interface] = []
        self._section(b"\n\r\r\n")
        first = self._first_interface()
        self.linktype, self.snaplen = first.linktype, first.snaplen

    def _first_interface(self) -> _Interface:
        """Read up to the first interface: its link type is needed to compile the filter."""
        while not self._interfaces:
            found = self._block()
            if found is None:
                return _Interface(lt.ETHERNET, 0)
            if found[0] == INTERFACE:
                self._interface(found[1])
            elif found[0] in (ENHANCED, SIMPLE, OLD_PACKET):
                raise CaptureFileError(
                    "the capture file is damaged: a packet before any interface description"
                )
        return self._interfaces[0]

    def __iter__(self) -> Iterator[Packet]:
        while (found := self._block()) is not None:
            kind, body = found
            try:
                if kind == INTERFACE:
                    self._interface(body)
                elif kind == ENHANCED:
                    yield self._enhanced(body)
                elif kind == OLD_PACKET:
                    yield self._old(body)
                elif kind == SIMPLE:
                    yield self._simple(body)
            except struct.error:
                raise CaptureFileError(
                    f"the capture file is damaged: a block of type {kind} is too short"
                ) from None

    def _section(self, first: bytes) -> None:
        head = read_exactly(self._file, 8, "its section header")
        if not head:
            raise CaptureFileError("the capture file ends after its first four bytes")
        magic = head[4:8]
        if int.from_bytes(magic, "little") == BYTE_ORDER:
            self._order = "<"
        elif int.from_bytes(magic, "big") == BYTE_ORDER:
            self._order = ">"
        else:
            raise CaptureFileError(f"pcapng with an invalid byte-order magic: {magic.hex()}")
        (length,) = struct.unpack(self._order + "I", head[:4])
        if length < 28 or length % 4 or length > MAX_BLOCK:
            raise CaptureFileError(f"the capture file is damaged: a section header of {length}")
        rest = read_exactly(self._file, length - 12, "its section header")
        if not rest:
            raise CaptureFileError("the capture file ends in its section header")
        major, minor = struct.unpack_from(self._order + "HH", rest)
        if major != 1:
            raise CaptureFileError(f"pcapng version {major}.{minor} is not 1.x")
        self._interfaces = []

    def _block(self) -> tuple[int, bytes] | None:
        while True:
            kind_bytes = read_exactly(self._file, 4, "a block's header")
            if not kind_bytes:
                return None
            (kind,) = struct.unpack(self._order + "I", kind_bytes)
            if kind != SECTION:
                break
            self._section(kind_bytes)
        length_bytes = read_exactly(self._file, 4, "a block's header")
        if not length_bytes:
            raise CaptureFileError("the capture file ends in the middle of a block's header")
        (length,) = struct.unpack(self._order + "I", length_bytes)
        if length < 12 or length % 4 or length > MAX_BLOCK:
            raise CaptureFileError(f"the capture file is damaged: a block of {length} bytes")
        body = read_exactly(self._file, length - 8, "a block")
        if not body:
            raise CaptureFileError("the capture file ends in the middle of a block")
        if body[-4:] != length_bytes:
            raise CaptureFileError("the capture file is damaged: a block's two lengths differ")
        return kind, body[:-4]

    def _interface(self, body: bytes) -> None:
        if len(body) < 8:
            raise CaptureFileError("the capture file is damaged: a short interface description")
        linktype, _, snaplen = struct.unpack_from(self._order + "HHI", body)
        interface = _Interface(lt.from_file(linktype), snaplen)
        for code, value in self._options(body, 8):
            if code == IF_NAME:
                interface.name = value.decode(errors="replace")
            elif code == IF_TSRESOL and len(value) == 1:
                base, power = (2, value[0] & 0x7F) if value[0] & 0x80 else (10, value[0])
                # With 10^19 units a second, one second does not fit in 64 bits.
                interface.units = base ** min(power, 64)
            elif code == IF_TSOFFSET and len(value) == 8:
                (interface.offset,) = struct.unpack(self._order + "q", value)
        self._interfaces.append(interface)

    def _options(self, body: bytes, at: int) -> Iterator[tuple[int, bytes]]:
        while at + 4 <= len(body):
            code, length = struct.unpack_from(self._order + "HH", body, at)
            if code == OPT_END:
                return
            yield code, body[at + 4 : at + 4 + length]
            at += 4 + length + (-length & 3)

    def _of(self, number: int) -> _Interface:
        if number >= len(self._interfaces):
            raise CaptureFileError(
                f"the capture file is damaged: no description of interface {number}"
            )
        return self._interfaces[number]

    def _enhanced(self, body: bytes) -> Packet:
        number, high, low, kept, length = struct.unpack_from(self._order + "5I", body)
        return self._packet(body, 20, number, high << 32 | low, kept, length)

    def _old(self, body: bytes) -> Packet:
        number, _, high, low, kept, length = struct.unpack_from(self._order + "HH4I", body)
        return self._packet(body, 20, number, high << 32 | low, kept, length)

    def _simple(self, body: bytes) -> Packet:
        (length,) = struct.unpack_from(self._order + "I", body)
        snaplen = self._of(0).snaplen or length
        return self._packet(body, 4, 0, 0, min(length, snaplen, len(body) - 4), length)

    def _packet(
        self, body: bytes, at: int, number: int, stamp: int, kept: int, length: int
    ) -> Packet:
        interface = self._of(number)
        if at + kept > len(body):
            raise CaptureFileError("the capture file is damaged: a packet longer than its block")
        packet = Packet(
            interface.nanoseconds(stamp),
            max(length, kept),
            body[at : at + kept],
            interface.linktype,
            interface.name,
        )
        for code, value in self._options(body, at + kept + (-kept & 3)):
            if code == OPT_COMMENT:
                text = value.decode(errors="replace")
                if text == SENT_BY_NETKAT:
                    packet.sent_by_netkat = True
                else:
                    # A packet may have several comments.
                    packet.comment += f"\n{text}" if packet.comment else text
            elif code == EPB_FLAGS and len(value) == 4:
                way = struct.unpack(self._order + "I", value)[0] & 3
                packet.direction = {INBOUND: "in", OUTBOUND: "out"}.get(way, "")
        return packet
