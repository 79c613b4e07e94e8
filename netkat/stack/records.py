"""Capture-file records out of a receive ring's block, made by the library: many at once."""

from __future__ import annotations

import enum

from netkat.stack.codes import check
from netkat.stack.ffi import load


class Form(enum.IntEnum):
    """Kinds of capture file, as in gostack.h."""

    PCAP_MICRO = 0
    PCAP_NANO = 1
    PCAPNG = 2


class RecordCopier:
    """Copies blocks of at most ``room`` bytes. One thread at a time.

    Errors of the constructor: LibraryMissing, LibraryMismatch.
    """

    def __init__(self, room: int) -> None:
        loaded = load()
        self._ffi, self._call = loaded.ffi, loaded.calls.gs_capture_records
        self._held = bytearray(room)
        self._room = room
        self._out = self._ffi.from_buffer(self._held, require_writable=True)
        self._view = memoryview(self._held)

    def copy(self, packets: memoryview, count: int, form: Form, interface: int) -> memoryview:
        """The records of ``count`` packets (struct tpacket3_hdr), good until the next call.

        A VLAN tag in the metadata is put back into its frame. Errors: StackError
        for bytes that are no ring's.
        """
        size = self._call(
            self._ffi.from_buffer(packets),
            len(packets),
            count,
            form,
            interface,
            self._out,
            self._room,
        )
        return self._view[: check(size)]
