"""The BPF ring buffer (Documentation/bpf/ringbuf.rst): records from programs, in order."""

from __future__ import annotations

import mmap
import struct
import threading

from netkat.bpf.bpf_syscall import Command, Descriptor, bpf

_TYPE = 27  # BPF_MAP_TYPE_RINGBUF
_BUSY, _DISCARDED = 1 << 31, 1 << 30
_POSITION = struct.Struct("=Q")
_RECORD = struct.Struct("=II")


class RingBuffer(Descriptor):
    """The map and both of its mappings. ``size`` bytes, a power of two of pages. Needs 5.8."""

    def __init__(self, name: str, size: int) -> None:
        """Errors: OSError."""
        attributes = struct.pack("=5I8x16s", _TYPE, 0, 0, size, 0, name.encode())
        super().__init__(bpf(Command.MAP_CREATE, bytearray(attributes)))
        self._size = size
        self._fence = threading.Lock()
        page = mmap.PAGESIZE
        try:
            self._consumer = mmap.mmap(self.fd, page)
            # The data is mapped twice in a row, so that no record is cut in two.
            self._producer = mmap.mmap(self.fd, page + 2 * size, prot=mmap.PROT_READ, offset=page)
        except OSError:
            self.close()
            raise

    def take(self) -> list[bytes]:
        """The records that are complete, in the order of their beginning."""
        found = []
        page = mmap.PAGESIZE
        (position,) = _POSITION.unpack_from(self._consumer)
        while True:
            # Taking a lock is a barrier: records must not be read before the position.
            with self._fence:
                (end,) = _POSITION.unpack_from(self._producer)
            if position >= end:
                break
            at = page + (position & (self._size - 1))
            with self._fence:
                length, _ = _RECORD.unpack_from(self._producer, at)
            if length & _BUSY:
                break
            size = length & ~_DISCARDED
            if not length & _DISCARDED:
                found.append(self._producer[at + 8 : at + 8 + size])
            position += (size + 8 + 7) & ~7
            with self._fence:
                _POSITION.pack_into(self._consumer, 0, position)
        return found

    def close(self) -> None:
        """Unmap and close. Idempotent."""
        if self.fd >= 0:
            for mapping in (getattr(self, "_consumer", None), getattr(self, "_producer", None)):
                if mapping is not None:
                    mapping.close()
        super().close()
