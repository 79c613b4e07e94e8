"""Arrays of struct mmsghdr that the kernel and the stack fill in place, so Python touches no frame.

Each entry has iovecs of its own: the first is the 10-byte virtio-net header,
the rest is the frame. Who owns the memory behind them differs: the stack lends
pinned buffers for receiving and its own packets for sending (gostack.h, gs_arm
and gs_drain).
"""

from __future__ import annotations

import errno
import os
import socket

from netkat.wire.libc import CData, ffi, libc

VNET_LENGTH = 10
"""Bytes of struct virtio_net_hdr (Linux uapi virtio_net.h); gostack.h's GS_VNET_LEN."""
RECEIVE_IOVECS = 3
"""Iovecs a received frame; gostack.h's GS_RX_IOVECS."""
SEND_IOVECS = 72
"""Iovecs that a frame to be sent has at most; gostack.h's GS_TX_IOVECS."""


class MessageBatch:
    """``capacity`` entries of struct mmsghdr at ``pointer``, filled by the kernel or the stack."""

    def __init__(self, frames: int, iovecs: int) -> None:
        self.capacity = frames
        # cffi frees what no Python object holds, so the arrays are kept beside each other.
        self._iovecs = ffi.new("struct iovec[]", frames * iovecs)
        self.pointer: CData = ffi.new("struct mmsghdr[]", frames)
        for i in range(frames):
            header = self.pointer[i].msg_hdr
            header.msg_iov = self._iovecs + i * iovecs
            header.msg_iovlen = iovecs

    def header(self, i: int) -> bytes:
        """A copy of entry ``i``'s virtio-net header."""
        return self.whole(i)[:VNET_LENGTH]

    def frame(self, i: int) -> bytes:
        """A copy of entry ``i``'s frame, without its virtio-net header."""
        return self.whole(i)[VNET_LENGTH:]

    def whole(self, i: int) -> bytes:
        """A copy of entry ``i``: virtio-net header and frame."""
        header = self.pointer[i].msg_hdr
        iovecs = header.msg_iov
        parts = (iovecs[j] for j in range(header.msg_iovlen))
        return b"".join(ffi.buffer(part.iov_base, part.iov_len) for part in parts if part.iov_len)


class ReceiveBatch(MessageBatch):
    """Where received frames go. Armed by the stack (gs_arm) before the first receive."""

    def __init__(self, frames: int = 64) -> None:
        super().__init__(frames, RECEIVE_IOVECS)

    def receive(self, fd: int) -> int:
        """Fill entries from a socket, without waiting; how many (0: none wait). Errors: OSError."""
        while True:
            count = libc.recvmmsg(fd, self.pointer, self.capacity, socket.MSG_DONTWAIT, ffi.NULL)
            if count >= 0:
                return count
            number = ffi.errno
            if number == errno.EAGAIN:
                return 0
            if number != errno.EINTR:
                raise OSError(number, os.strerror(number))

    def put(self, i: int, whole: bytes) -> None:
        """Write virtio-net header and frame into entry ``i``, as recvmmsg would."""
        entry = self.pointer[i]
        iovecs, at = entry.msg_hdr.msg_iov, 0
        view = memoryview(whole)
        for j in range(entry.msg_hdr.msg_iovlen):
            part = min(iovecs[j].iov_len, len(whole) - at)
            if part > 0:
                ffi.memmove(iovecs[j].iov_base, view[at : at + part], part)
                at += part
        entry.msg_len = at

    def whole(self, i: int) -> bytes:
        """A copy of entry ``i`` as far as it was received."""
        return super().whole(i)[: self.pointer[i].msg_len]


class SendBatch(MessageBatch):
    """Frames that the stack sends, filled by gs_drain and valid until the next call."""

    def __init__(self, frames: int = 64) -> None:
        super().__init__(frames, SEND_IOVECS)

    def send(self, fd: int, first: int, end: int) -> int:
        """Send the entries from ``first`` to before ``end`` on a socket; how many the kernel took.

        Errors: OSError about entry ``first`` (BlockingIOError: the socket's buffer is full).
        """
        while True:
            count = libc.sendmmsg(fd, self.pointer + first, end - first, socket.MSG_DONTWAIT)
            if count >= 0:
                return count
            number = ffi.errno
            if number != errno.EINTR:
                raise OSError(number, os.strerror(number))
