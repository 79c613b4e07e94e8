"""One captured packet."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netkat.capture import linktype as lt

if TYPE_CHECKING:
    from netkat.wire.ring import Record

_SLL2 = struct.Struct("!HxxIHBB8s")
_TAG = struct.Struct("!HH")


@dataclass(slots=True)
class Packet:
    """A frame, and what the kernel or the file reports about it.

    >>> packet = next(netkat.read_capture("web.pcap"))
    >>> packet.length, packet.raw[:6].hex(":")  # bytes on the wire; destination MAC
    (54, '02:00:00:00:00:02')
    >>> dict(packet.layers)["tcp"]["dport"]
    80
    """

    time_ns: int
    """Nanoseconds since the epoch."""
    length: int
    """Bytes on the wire."""
    raw: bytes
    """The captured bytes from the link header on, with any VLAN tag."""
    linktype: int = lt.ETHERNET
    interface: str = ""
    direction: str = ""
    """"in", "out", or "" if unknown."""
    segment: int = 0
    """Payload bytes of each segment of a GSO or GRO packet; 0 for other packets."""
    comment: str = ""
    sent_by_netkat: bool = False
    """True if netkat sent the packet."""
    drop: str = ""
    """Why the kernel dropped the packet (``--drops``); "" for a captured frame."""

    @property
    def time(self) -> float:
        """Seconds since the epoch; ``time_ns`` is exact."""
        return self.time_ns / 1e9

    @property
    def layers(self) -> list[tuple[str, dict[str, Any]]]:
        """The headers, outermost first: name ("ethernet", "ipv4", "tcp" …) and fields."""
        from netkat.capture.layers import layers

        return layers(self)

    def summary(self) -> str:
        """Return the line that ``netkat sniff -n -t`` prints."""
        from netkat.capture.text.context import Style
        from netkat.capture.text.printer import Printer

        return Printer(Style(numeric=True)).body(self)

    def to_scapy(self) -> Any:
        """Return a scapy packet. scapy (GPL-2.0) is not a dependency of netkat.

        Errors: ImportError if scapy is not installed.
        """
        from netkat.capture.scapy_bridge import to_scapy

        return to_scapy(self)


def from_record(record: Record, interface: str, linktype: int) -> Packet:
    """Return the packet for a record of a ring."""
    raw, length = record.data, record.length
    if linktype == lt.LINUX_SLL2:
        protocol = record.protocol if record.vlan is None else record.vlan[0]
        header = _SLL2.pack(
            protocol,
            record.interface,
            record.hardware,
            record.packet_type,
            len(record.address),
            record.address.ljust(8, b"\0"),
        )
        if record.vlan is not None:
            header += _TAG.pack(record.vlan[1], record.protocol)
        raw, length = header + raw, length + len(header)
    elif record.vlan is not None and linktype == lt.ETHERNET:
        raw = raw[:12] + _TAG.pack(*record.vlan) + raw[12:]
        length += 4
    return Packet(
        record.time,
        length,
        raw,
        linktype,
        interface,
        "out" if record.outgoing else "in",
        record.segment,
    )
