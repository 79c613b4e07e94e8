"""Batches with memory of their own, where the stack's is not wanted."""

from __future__ import annotations

from collections.abc import Sequence

from netkat.wire.batch import RECEIVE_IOVECS, ReceiveBatch, SendBatch
from netkat.wire.libc import ffi
from netkat.wire.vnet_hdr import VnetHeader

FRAME = 65536 + 64
PLAIN = VnetHeader()


class OwnReceiveBatch(ReceiveBatch):
    """Armed: a header and one buffer an entry."""

    def __init__(self, frames: int = 64) -> None:
        super().__init__(frames)
        self._memory = ffi.new("char[]", frames * (16 + FRAME))
        for i in range(frames):
            header = self.pointer[i].msg_hdr
            at = self._memory + i * (16 + FRAME)
            header.msg_iov[0].iov_base, header.msg_iov[0].iov_len = at, 10
            header.msg_iov[1].iov_base, header.msg_iov[1].iov_len = at + 16, FRAME
            for j in range(2, RECEIVE_IOVECS):
                header.msg_iov[j].iov_base, header.msg_iov[j].iov_len = ffi.NULL, 0

    def take(self, count: int) -> list[tuple[VnetHeader, bytes]]:
        """Copies of the first ``count`` frames with their headers."""
        return [(VnetHeader.parse(self.header(i)), self.frame(i)) for i in range(count)]


class OwnSendBatch(SendBatch):
    """Frames to send, each with its header."""

    def __init__(self, frames: Sequence[bytes | tuple[VnetHeader, bytes]]) -> None:
        super().__init__(max(len(frames), 1))
        self._memory = []
        for i, given in enumerate(frames):
            header, frame = (PLAIN, given) if isinstance(given, bytes) else given
            kept = ffi.new("char[]", header.pack() + frame)
            self._memory.append(kept)
            message = self.pointer[i].msg_hdr
            message.msg_iovlen = 2
            message.msg_iov[0].iov_base, message.msg_iov[0].iov_len = kept, 10
            message.msg_iov[1].iov_base, message.msg_iov[1].iov_len = kept + 10, len(frame)
