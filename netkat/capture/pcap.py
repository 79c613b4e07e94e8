"""Classic capture files (IETF draft-ietf-opsawg-pcap), in either byte order and either unit."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Protocol

from netkat.capture import linktype as lt
from netkat.capture.packet import Packet
from netkat.errors import BadArgument
from netkat.stack.records import Form, RecordCopier
from netkat.wire.ring import Block

MAX_PACKET = 1 << 24
"""Largest packet length; a file with a larger one is damaged."""

MICRO, NANO = 0xA1B2C3D4, 0xA1B23C4D
_CHUNK = 1 << 18
_FILE_HEADER, _RECORD = "IHHiIII", "IIII"
_NATIVE_RECORD = struct.Struct("=IIII")


class CaptureFileError(BadArgument):
    """The file is not a capture file, or is damaged. Packets before the damage were read."""

    hint = "check the file: file FILE; capinfos FILE"


class CaptureStream(Protocol):
    """An open capture file: BufferedReader, GzipStream, BytesIO."""

    def read(self, size: int, /) -> bytes: ...
    def read1(self, size: int, /) -> bytes: ...


def read_exactly(file: CaptureStream, count: int, what: str) -> bytes:
    """Return ``count`` bytes, or b"" at the end of the file. Errors: CaptureFileError."""
    data = file.read(count)
    while data and len(data) < count:
        more = file.read(count - len(data))
        if not more:
            raise CaptureFileError(
                f"the capture file ends in the middle of {what}: {len(data)} of {count} bytes"
            )
        data += more
    return data


class PcapReader:
    """Iterates over the packets of a classic capture file, after its first 4 bytes."""

    def __init__(self, file: CaptureStream, magic: bytes) -> None:
        self._file = file
        order = "<" if magic[0] in (0xD4, 0x4D) else ">"
        self._unit = 1 if b"\xb2\x3c" in (magic[1:3], magic[2:0:-1]) else 1000
        rest = read_exactly(file, 20, "its header")
        if not rest:
            raise CaptureFileError("the capture file ends after its first four bytes")
        major, minor, _, _, self.snaplen, network = struct.unpack(order + _FILE_HEADER[1:], rest)
        if major != 2:
            raise CaptureFileError(f"capture file version {major}.{minor} is not 2.x")
        # The upper bits are the length of the frame check sequence and reserved ones.
        self.linktype = lt.from_file(network & 0xFFFF)
        self._record = struct.Struct(order + _RECORD)

    def __iter__(self) -> Iterator[Packet]:
        unpack, unit, kind = self._record.unpack_from, self._unit, self.linktype
        data, at, end = b"", 0, 0
        while True:
            # read1() returns what a pipe has, so packets are not delayed until a buffer is full.
            while end - at < 16:
                data, at = data[at:] + (more := self._file.read1(_CHUNK)), 0
                end = len(data)
                if not more:
                    if not data:
                        return
                    raise CaptureFileError(
                        f"the capture file ends in the middle of a packet's header: "
                        f"{end} of 16 bytes"
                    )
            seconds, fraction, kept, length = unpack(data, at)
            if kept > MAX_PACKET:
                raise CaptureFileError(f"the capture file is damaged: a packet of {kept} bytes")
            at += 16
            while end - at < kept:
                data, at = data[at:] + (more := self._file.read1(max(_CHUNK, kept))), 0
                end = len(data)
                if not more:
                    raise CaptureFileError(
                        f"the capture file ends in the middle of a packet: {end} of {kept} bytes"
                    )
            raw = data[at : at + kept]
            at += kept
            time_ns = seconds * 1_000_000_000 + fraction * unit
            yield Packet(time_ns, length if length > kept else kept, raw, kind)


class PcapFormat:
    """Turns packets into the bytes of a classic capture file."""

    def __init__(
        self,
        linktype: int,
        snaplen: int,
        *,
        nanoseconds: bool = False,
    ) -> None:
        self._linktype, self._snaplen, self._nano = linktype, snaplen, nanoseconds
        self.copier: RecordCopier | None = None

    def begin(self) -> bytes:
        """Return the file header."""
        magic = NANO if self._nano else MICRO
        return struct.pack("=" + _FILE_HEADER, magic, 2, 4, 0, 0, self._snaplen, self._linktype)

    def packets(self, packets: Iterable[Packet]) -> bytes:
        """Return records. Errors: BadArgument if a link type differs from the file's."""
        unit, pack, parts = 1 if self._nano else 1000, _NATIVE_RECORD.pack, list[bytes]()
        for packet in packets:
            if packet.linktype != self._linktype:
                raise BadArgument(
                    f"a classic capture file holds one link type, not "
                    f"{lt.describe(self._linktype)} and {lt.describe(packet.linktype)}",
                    hint="use a file name that ends in .pcapng",
                )
            seconds, fraction = divmod(packet.time_ns, 1_000_000_000)
            parts.append(
                pack(seconds & 0xFFFFFFFF, fraction // unit, len(packet.raw), packet.length)
            )
            parts.append(packet.raw)
        return b"".join(parts)

    def block(self, block: Block, interface: str, linktype: int) -> memoryview | None:
        """Return the records of a ring block, valid until the next call; None: use packets()."""
        if self.copier is None or block.cooked or linktype != self._linktype:
            return None
        form = Form.PCAP_NANO if self._nano else Form.PCAP_MICRO
        return self.copier.copy(block.packets, block.count, form, 0)

    def end(self) -> bytes:
        """Return b"": the format has no statistics."""
        return b""

    def whole(self, data: bytes | memoryview) -> tuple[int, int]:
        """Return how many bytes are complete records, and the number of their packets."""
        at = packets = 0
        while at + 16 <= len(data):
            following = at + 16 + _NATIVE_RECORD.unpack_from(data, at)[2]
            if following > len(data):
                break
            at, packets = following, packets + 1
        return at, packets
