"""--json: one JSON object for each packet (docs/json/packet.schema.json)."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from netkat.capture.packet import Packet
from netkat.capture.text.context import Style
from netkat.capture.text.printer import Printer
from netkat.commands.sniff.outputs import write_stdout

VERSION = 1
"""Version of the schema."""


class JsonLines:
    """JSON objects on stdout, one a line."""

    def __init__(self) -> None:
        self._printer = Printer(Style(numeric=True))

    def packets(self, packets: Sequence[Packet]) -> None:
        """Print a batch."""
        text = "".join(
            json.dumps(as_object(packet, self._printer), separators=(",", ":")) + "\n"
            for packet in packets
        )
        write_stdout(text.encode())

    def finish(self) -> None:
        """Do nothing: no object is buffered."""


def as_object(packet: Packet, printer: Printer) -> dict[str, Any]:
    """Return the object for a packet: absolute sequence numbers, nanoseconds."""
    found: dict[str, Any] = {
        "version": VERSION,
        "command": "sniff",
        "time": iso_time(packet.time_ns),
        "time_ns": packet.time_ns,
        "interface": packet.interface,
        "direction": packet.direction,
        "length": packet.length,
        "captured": len(packet.raw),
        "linktype": packet.linktype,
        "summary": printer.body(packet),
        "layers": [{"name": name, **fields} for name, fields in packet.layers],
    }
    if packet.segment:
        found["segment"] = packet.segment
    if packet.sent_by_netkat:
        found["sent_by_netkat"] = True
    if packet.drop:
        found["drop"] = packet.drop
    if packet.comment:
        found["comment"] = packet.comment
    return found


def iso_time(time_ns: int) -> str:
    """Return RFC 3339 with nanoseconds, UTC."""
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    try:
        clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"{seconds}.{fraction:09}"
    return f"{clock}.{fraction:09}Z"
