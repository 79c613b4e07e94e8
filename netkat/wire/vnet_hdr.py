"""``struct virtio_net_hdr``: metadata of a frame on a packet socket (checksum, segmentation).

Linux uapi virtio_net.h; the meaning follows the virtio specification, 5.1.6.
A packet socket has the numbers in host order (net/packet/af_packet.c, vio_le).
"""

from __future__ import annotations

import enum
import struct
from typing import NamedTuple

_LAYOUT = struct.Struct("=BBHHHH")

LENGTH = _LAYOUT.size
"""10: the form without num_buffers, which a packet socket uses by default."""


class Flags(enum.IntFlag):
    """Checksum state. Without either flag the checksum is complete and unverified."""

    NEEDS_CSUM = 1
    """The transport checksum covers the pseudo header only; on receipt, the data is good."""
    DATA_VALID = 2
    """The kernel or the device has verified it."""


class GsoType(enum.IntEnum):
    """The kind of segmentation. ECN is a bit that is combined with TCPV4 or TCPV6."""

    NONE = 0
    TCPV4 = 1
    UDP = 3
    TCPV6 = 4
    UDP_L4 = 5
    ECN = 0x80


class VnetHeader(NamedTuple):
    """The header's fields; sizes and offsets in bytes from the start of the frame."""

    flags: int = 0
    gso_type: int = 0
    hdr_len: int = 0
    """Length of all headers, a hint."""
    gso_size: int = 0
    """Payload bytes of each segment; 0 for a plain frame."""
    csum_start: int = 0
    """Where the checksum begins to count."""
    csum_offset: int = 0
    """Where it is written, from csum_start on."""

    @classmethod
    def parse(cls, data: bytes | memoryview) -> VnetHeader:
        """Of the first ten bytes. Errors: struct.error when there are fewer."""
        return cls(*_LAYOUT.unpack_from(data))

    def pack(self) -> bytes:
        """Ten bytes. Errors: struct.error for a number out of range."""
        return _LAYOUT.pack(*self)

    @property
    def super_frame(self) -> bool:
        """Whether it is a GSO or GRO packet: many segments in one frame."""
        return self.gso_type & ~GsoType.ECN != GsoType.NONE
