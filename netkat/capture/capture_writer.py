"""Write a capture file: whole records only, rotated by size or time."""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from netkat.capture.packet import Packet
from netkat.errors import BadArgument, SetupError
from netkat.wire.ring import BLOCK, Block

if TYPE_CHECKING:
    from netkat.stack.records import RecordCopier


class Format(Protocol):
    """Turns packets into the bytes of a file: PcapFormat, PcapngFormat."""

    copier: RecordCopier | None
    """Copies whole ring blocks for block(); None: block() is not available."""

    def begin(self) -> bytes: ...
    def packets(self, packets: Sequence[Packet]) -> bytes: ...
    def block(self, block: Block, interface: str, linktype: int) -> bytes | memoryview | None: ...
    def end(self) -> bytes: ...
    def whole(self, data: bytes | memoryview) -> tuple[int, int]: ...


class WriteFailed(SetupError, OSError):
    """Writing failed: a full disk, a closed pipe. The file ends with a whole packet."""

    hint = "packets written before the error are complete"


@dataclass(frozen=True, slots=True)
class Rotation:
    """When to start a new file (tcpdump's -C, -G and -W)."""

    size: int = 0
    """Start a new file once this many bytes are written; 0: never."""
    seconds: int = 0
    """Start a new file after this many seconds; 0: never."""
    files: int = 0
    """With size: overwrite the oldest of this many files. With seconds alone: stop after this many.
    0: no limit."""


class LastFileWritten(Exception):
    """The number of files that -W allows is written: the capture ends normally."""


class CaptureWriter:
    """Writes a capture to a path, or to standard output for "-". close() is idempotent.

    Nothing is buffered: when a call returns, the file has its packets.
    """

    def __init__(self, path: str, form: Format, rotation: Rotation | None = None) -> None:
        """Errors: BadArgument if the file cannot be created."""
        self._path, self._form = path, form
        self._rotation = rotation or Rotation()
        if path == "-" and (self._rotation.size or self._rotation.seconds):
            raise BadArgument("-C and -G cannot be used with -w -")
        self._number = self._timed = 0
        self._period_began = time.time()
        self._fd = -1
        self.written = 0
        """Packets written so far, in all files."""
        self._open()

    def packets(self, packets: Sequence[Packet]) -> None:
        """Append packets. Errors: WriteFailed, LastFileWritten."""
        self._rotate_by_time()
        if not self._rotation.size:
            self._write(self._form.packets(packets), len(packets))
            return
        parts: list[bytes] = []
        size = self._size
        for packet in packets:
            if size > self._rotation.size:
                self._write(b"".join(parts), len(parts))
                self._next_by_size()
                parts, size = [], self._size
            parts.append(self._form.packets([packet]))
            size += len(parts[-1])
        self._write(b"".join(parts), len(parts))

    def block(self, block: Block, interface: str, linktype: int) -> bool:
        """Append a ring block whole; return False if packets() must be used instead."""
        self._rotate_by_time()
        if self._rotation.size and self._size + BLOCK > self._rotation.size:
            return False  # the next file may begin within this block
        data = self._form.block(block, interface, linktype)
        if data is None:
            return False
        self._write(data, block.count)
        return True

    def use(self, copier: RecordCopier | None) -> None:
        """Set the copier of block(); without one, packets() must be used."""
        self._form.copier = copier

    def close(self) -> None:
        """Write the capture statistics and close the file. Errors: WriteFailed."""
        if self._fd < 0:
            return
        try:
            if not self._failed:
                self._write(self._form.end())
        finally:
            descriptor, self._fd = self._fd, -1
            if descriptor != sys.__stdout__.fileno():  # type: ignore[union-attr]
                os.close(descriptor)

    def _open(self) -> None:
        self.name, self._failed = self._next_name(), False
        self._size = 0
        if self._path == "-":
            self._fd = sys.__stdout__.fileno()  # type: ignore[union-attr]
            if os.isatty(self._fd):
                raise BadArgument("-w - writes binary data to a terminal: redirect stdout")
        else:
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
                self._fd = os.open(self.name, flags, 0o644)
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                raise BadArgument(f"cannot write {self.name}: {reason}") from None
        self._regular = stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._write(self._form.begin())

    def _next_name(self) -> str:
        name = self._path
        if self._rotation.seconds:
            # The time of -G's period, also for the files that -C starts within it.
            name = time.strftime(name, time.localtime(self._period_began))
        if not self._rotation.size:
            return name
        if self._rotation.files:
            width = len(str(self._rotation.files - 1))
            return f"{name}{self._number % self._rotation.files:0{width}}"
        return f"{name}{self._number}" if self._number else name

    def _next_by_size(self) -> None:
        self.close()
        self._number += 1
        self._open()

    def _rotate_by_time(self) -> None:
        if not self._rotation.seconds or time.time() - self._period_began < self._rotation.seconds:
            return
        self.close()
        self._timed += 1
        if self._rotation.files and not self._rotation.size and self._timed >= self._rotation.files:
            raise LastFileWritten
        self._number = 0
        self._period_began = time.time()
        self._open()

    def _write(self, data: bytes | memoryview, packets: int = 0) -> None:
        view, done = memoryview(data), 0
        try:
            while done < len(data):
                done += os.write(self._fd, view[done:])
        except OSError as error:
            self._failed = True
            length, whole = self._form.whole(data[:done])
            self.written += whole
            if self._regular:
                # Remove the incomplete record, so that every program can read the whole file.
                os.ftruncate(self._fd, self._size + length)
            raise self._explain(error) from None
        self._size += done
        self.written += packets

    def _explain(self, error: OSError) -> WriteFailed:
        if error.errno == errno.EPIPE:
            return WriteFailed("the reader of the capture closed the pipe")
        kept = "packets written before the error are kept" if self._regular else None
        return WriteFailed(f"writing {self.name} failed: {error.strerror}", hint=kept)
