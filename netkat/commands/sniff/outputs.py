"""Where packets go: lines, JSON, a file, a table."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, Protocol

from netkat.capture.capture_writer import CaptureWriter, WriteFailed
from netkat.capture.flow_statistics import FlowTable
from netkat.capture.packet import Packet
from netkat.capture.text.printer import Printer
from netkat.capture.text.style import Style

VERSION = 1
"""Of docs/json/packet.schema.json."""


class Output(Protocol):
    """Takes packets, in batches."""

    def packets(self, packets: Sequence[Packet]) -> None: ...
    def finish(self) -> None: ...


def write_out(data: bytes) -> None:
    """All of it to standard output. Errors: WriteFailed."""
    view, descriptor = memoryview(data), 1
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except BrokenPipeError:
        raise WriteFailed("standard output was closed by its reader") from None
    except OSError as error:
        raise WriteFailed(f"writing to standard output failed: {error.strerror}") from None


class Lines:
    """tcpdump-like lines on standard output; each batch is one write, so none waits in a buffer."""

    def __init__(self, style: Style) -> None:
        self._printer = Printer(style)

    def packets(self, packets: Sequence[Packet]) -> None:
        """Print them."""
        line = self._printer.line
        text = "\n".join([line(packet) for packet in packets])
        write_out((text + "\n").encode("utf-8", "backslashreplace"))

    def finish(self) -> None:
        """Nothing is left."""


class JsonLines:
    """One JSON object a packet."""

    def __init__(self) -> None:
        self._printer = Printer(Style(numeric=True))

    def packets(self, packets: Sequence[Packet]) -> None:
        """Print them."""
        text = "".join(
            json.dumps(as_object(packet, self._printer), separators=(",", ":")) + "\n"
            for packet in packets
        )
        write_out(text.encode())

    def finish(self) -> None:
        """Nothing is left."""


def as_object(packet: Packet, printer: Printer) -> dict[str, Any]:
    """A packet as docs/json/packet.schema.json has it: numbers as on the wire, nanoseconds."""
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
    if packet.ours:
        found["ours"] = True
    if packet.drop:
        found["drop"] = packet.drop
    if packet.comment:
        found["comment"] = packet.comment
    return found


def iso_time(time_ns: int) -> str:
    """RFC 3339 with nanoseconds, UTC."""
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    try:
        clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"{seconds}.{fraction:09}"
    return f"{clock}.{fraction:09}Z"


class FileOutput:
    """A capture file."""

    def __init__(self, writer: CaptureWriter) -> None:
        self.writer = writer

    def packets(self, packets: Sequence[Packet]) -> None:
        """Append them."""
        self.writer.packets([packet for packet in packets if not packet.drop])

    def finish(self) -> None:
        """Close the file."""
        self.writer.close()


class Statistics:
    """A table of the busiest flows while it runs (on a terminal), and of all at the end."""

    ROWS = 15

    def __init__(self) -> None:
        self.table = FlowTable()
        self._live = sys.stdout is not None and sys.stdout.isatty()
        self._drawn_at = 0.0
        self._drawn_lines = 0

    def packets(self, packets: Sequence[Packet]) -> None:
        """Count them."""
        for packet in packets:
            if not packet.drop:
                self.table.add(packet)
        self.tick()

    def tick(self) -> None:
        """Draw again if a second has gone by."""
        now = time.monotonic()
        if self._live and now - self._drawn_at >= 1:
            self._drawn_at = now
            self._draw(self.ROWS)

    def finish(self) -> None:
        """The whole table."""
        self._draw(None)

    def _draw(self, rows: int | None) -> None:
        lines = table_lines(self.table, rows)
        back = f"\x1b[{self._drawn_lines}A\x1b[J" if self._drawn_lines else ""
        self._drawn_lines = len(lines)
        write_out((back + "\n".join(lines) + "\n").encode())


def table_lines(table: FlowTable, rows: int | None) -> list[str]:
    """A heading, then one line a flow, the busiest first."""
    flows = table.top(rows)
    names = [str(flow) for flow in flows]
    width = max([len(name) for name in names] + [24])
    lines = [
        f"{'flow':<{width}} {'packets':>9} {'bytes':>12} {'retrans':>8} {'rtt ms':>9} {'s':>8}"
    ]
    for name, flow in zip(names, flows, strict=True):
        rtt = "-" if flow.rtt_ns is None else f"{flow.rtt_ns / 1e6:.3f}"
        retransmits = str(flow.retransmits) if flow.protocol == "tcp" else "-"
        lines.append(
            f"{name:<{width}} {flow.packets:>9} {flow.bytes:>12} {retransmits:>8} {rtt:>9} "
            f"{(flow.last_ns - flow.first_ns) / 1e9:>8.3f}"
        )
    hidden = len(table.flows) - len(flows)
    rest = f", {counted(hidden, 'flow')} not shown" if hidden else ""
    other = f", {table.other} of them in no flow" if table.other else ""
    lines.append(
        f"{counted(len(table.flows), 'flow')}, {counted(table.packets, 'packet')}{other}, "
        f"{counted(table.bytes, 'byte')}{rest}"
    )
    return lines


def counted(count: int, what: str) -> str:
    """ "1 flow", "2 flows"."""
    return f"{count} {what}{'' if count == 1 else 's'}"
