"""Read gzip-compressed capture files (RFC 1952)."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import BinaryIO

from netkat.capture.pcap import CaptureFileError


class GzipStream:
    """The decompressed bytes of a file. Errors of read() and read1(): CaptureFileError."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = gzip.GzipFile(fileobj=file, mode="rb")

    def read(self, size: int, /) -> bytes:
        """Return ``size`` bytes, or fewer at the end."""
        return self._call(self._file.read, size)

    def read1(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes without waiting for more; b"" at the end."""
        return self._call(self._file.read1, size)

    def _call(self, read: Callable[[int], bytes], size: int) -> bytes:
        try:
            return read(size)
        except EOFError:
            raise CaptureFileError("the capture file's gzip data ends early") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise CaptureFileError(f"the capture file's gzip data is damaged: {error}") from None
