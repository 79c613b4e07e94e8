"""The batch contract between a wire and the engine.

A wire moves whole frames, many at a time. A frame is a 10-byte virtio-net
header (``struct virtio_net_hdr``, Linux uapi virtio_net.h) followed by what the
link carries: an Ethernet header and a packet, or on a header-less link the bare
packet. GSO packets of up to 64 KiB and partial checksums are normal; the
header describes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from netkat.wire.batch import ReceiveBatch, SendBatch


class WireStatistics(NamedTuple):
    """Counters since the wire was opened.

    ``received`` and ``dropped`` are the kernel's own (PACKET_STATISTICS): frames
    that passed the socket's filter, and those of them for which the socket's
    buffer had no room (or ``struct virtio_net_hdr`` no encoding: SCTP or tunnel GSO).
    ``refused`` counts frames that the kernel would not send, by errno: ENOBUFS
    is a qdisc, tc or nft egress hook that dropped the frame.
    """

    received: int = 0
    dropped: int = 0
    sent: int = 0
    refused: Mapping[int, int] = MappingProxyType({})


class Wire(Protocol):
    """What the engine requires of a wire. One thread receives, one sends (the engine locks)."""

    def fileno(self) -> int:
        """A descriptor that polls readable while frames wait."""
        ...

    def receive(self, batch: ReceiveBatch) -> int:
        """Fill the batch with the frames that wait, without waiting; 0 if none.

        Errors: InterfaceGone when the interface was deleted.
        """
        ...

    def send(self, batch: SendBatch, count: int) -> None:
        """Send the first ``count`` frames, in order; waits while the socket's buffer is full.

        A frame that the kernel refuses is counted in ``statistics().refused`` and
        skipped: the transport above sends again what matters.
        Errors: InterfaceGone when the interface was deleted.
        """
        ...

    def statistics(self) -> WireStatistics:
        """The counters so far."""
        ...

    def close(self) -> None:
        """Close. Idempotent."""
        ...
