"""One captured packet, as files, lines and Python programs see it."""

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
    """A frame and what the kernel or the file said about it.

    >>> packet = next(netkat.read_capture("web.pcap"))
    >>> packet.length, packet.raw[:6].hex(":")  # bytes on the wire; the receiver's MAC
    (54, '02:00:00:00:00:02')
    >>> dict(packet.layers)["tcp"]["dport"]
    80
    """

    time_ns: int
    """Nanoseconds since the epoch."""
    length: int
    """Bytes on the wire."""
    raw: bytes
    """The bytes kept, link header first; a VLAN tag stands in its place."""
    linktype: int = lt.ETHERNET
    interface: str = ""
    direction: str = ""
    """"in", "out", or "" where unknown."""
    segment: int = 0
    """Payload bytes of each segment of a super-frame (TSO, GRO); 0 for a plain frame."""
    comment: str = ""
    sent_by_netkat: bool = False
    """True when netkat sent it."""
    drop: str = ""
    """Why the kernel threw it away (``--drops``); "" for a frame on the wire."""

    @property
    def time(self) -> float:
        """Seconds since the epoch; ``time_ns`` has all digits."""
        return self.time_ns / 1e9

    @property
    def layers(self) -> list[tuple[str, dict[str, Any]]]:
        """Its headers from the outside in: name ("ethernet", "ip", "tcp" …) and fields."""
        from netkat.capture.layers import layers

        return layers(self)

    def summary(self) -> str:
        """What ``netkat sniff -n -t`` prints for it."""
        from netkat.capture.text.context import Style
        from netkat.capture.text.printer import Printer

        return Printer(Style(numeric=True)).body(self)

    def to_scapy(self) -> Any:
        """The same as a scapy packet. scapy (GPL-2.0) is no dependency of netkat.

        Errors: ImportError where it is not installed.
        """
        from netkat.capture.scapy_bridge import to_scapy

        return to_scapy(self)


def from_record(record: Record, interface: str, linktype: int) -> Packet:
    """The packet of a live record."""
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
