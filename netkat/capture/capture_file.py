"""Open a pcap or pcapng file, also a gzip-compressed one, from a path or standard input."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from io import BufferedReader, FileIO
from typing import cast

from netkat.bpf.filters.pcap_filter import MAX_SNAPLEN
from netkat.capture.pcap import CaptureFileError, CaptureStream, PcapReader, read_exactly
from netkat.capture.pcapng_reader import PcapngReader
from netkat.errors import BadArgument
from netkat.resources import Closeable

_PCAP = {bytes.fromhex(text) for text in ("a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1")}
_PCAPNG = b"\n\r\r\n"
_BUFFER = 1 << 18
_GZIP = b"\x1f\x8b"
_COMPRESSED = {b"\x28\xb5": "zstd", b"BZ": "bzip2", b"\xfd7": "xz"}


class CaptureFile(Closeable):
    """A capture file open for reading; iterate ``packets``. A context manager."""

    def __init__(self, path: str) -> None:
        """``path`` "-" is standard input. Errors: BadArgument, CaptureFileError."""
        self.path = path
        with ExitStack() as undo:
            file = _open(path, undo)
            magic = read_exactly(file, 4, "its first four bytes")
            self.packets: PcapReader | PcapngReader
            if magic in _PCAP:
                self.packets = PcapReader(file, magic)
            elif magic == _PCAPNG:
                self.packets = PcapngReader(file)
            else:
                raise _not_a_capture(path, magic)
            self._undo = undo.pop_all()

    @property
    def linktype(self) -> int:
        """The file's link type; for pcapng that of the first interface."""
        return self.packets.linktype

    @property
    def snaplen(self) -> int:
        """The snapshot length; libpcap's maximum if the file sets none."""
        return self.packets.snaplen or MAX_SNAPLEN

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._undo.close()


def _open(path: str, undo: ExitStack) -> CaptureStream:
    if path == "-":
        return _decompressed(cast(BufferedReader, sys.stdin.buffer))
    try:
        raw = undo.enter_context(FileIO(path))
        return _decompressed(BufferedReader(raw, _BUFFER))
    except OSError as error:
        raise BadArgument(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise BadArgument(f"{os.fsencode(path)!r}: {error}") from None


def _decompressed(file: BufferedReader) -> CaptureStream:
    if file.peek(len(_GZIP))[: len(_GZIP)] != _GZIP:
        return file
    from netkat.capture.gzip_stream import GzipStream

    return GzipStream(file)


def _not_a_capture(path: str, magic: bytes) -> CaptureFileError:
    if not magic:
        return CaptureFileError(f"{path}: empty file, not a capture file")
    packed = _COMPRESSED.get(magic[:2])
    return CaptureFileError(
        f"{path}: not a capture file (pcap or pcapng): it begins with {magic.hex(' ')}",
        hint=f"decompress it first ({packed}), or pipe it into -r -" if packed else None,
    )
