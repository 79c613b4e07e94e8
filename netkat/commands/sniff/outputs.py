"""Outputs for packets: lines, JSON, a capture file, statistics; and how a run reports errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Protocol

from netkat.capture.capture_writer import CaptureWriter, Format, WriteFailed
from netkat.capture.packet import Packet
from netkat.capture.pcap import PcapFormat
from netkat.capture.pcapng import InterfaceCounts, PcapngFormat
from netkat.capture.text.context import Style
from netkat.capture.text.printer import Printer
from netkat.commands.sniff.sniff_options import SniffOptions
from netkat.errors import NetkatError

PrintStatus = Callable[[str], None]
"""Writes a line to stderr."""


class PacketOutput(Protocol):
    """Receives packets in batches."""

    def packets(self, packets: Sequence[Packet]) -> None: ...
    def finish(self) -> None: ...


class Lines:
    """Lines as tcpdump prints them, on stdout. Each batch is one write: nothing is buffered."""

    def __init__(self, style: Style) -> None:
        self._printer = Printer(style)

    def packets(self, packets: Sequence[Packet]) -> None:
        """Print a batch."""
        line = self._printer.line
        text = "\n".join([line(packet) for packet in packets])
        write_stdout((text + "\n").encode("utf-8", "backslashreplace"))

    def finish(self) -> None:
        """Do nothing: no line is buffered."""


class FileOutput:
    """A capture file."""

    def __init__(self, writer: CaptureWriter) -> None:
        self.writer = writer

    def packets(self, packets: Sequence[Packet]) -> None:
        """Append a batch, without the packets that the kernel dropped."""
        self.writer.packets([packet for packet in packets if not packet.drop])

    def finish(self) -> None:
        """Close the file."""
        self.writer.close()


def open_outputs(
    options: SniffOptions, undo: ExitStack, make_format: Callable[[], Format]
) -> list[PacketOutput]:
    """Return the outputs of this run. Errors: BadArgument if a file cannot be created."""
    found: list[PacketOutput] = []
    if options.write is not None:
        writer = CaptureWriter(options.write, make_format(), options.rotation)
        undo.callback(_close_quietly, writer)
        found.append(FileOutput(writer))
    if options.json:
        from netkat.commands.sniff.packet_json import JsonLines

        found.append(JsonLines())
    elif options.stats:
        from netkat.commands.sniff.flow_report import FlowReport

        found.append(FlowReport())
    elif options.show and not options.only_count:
        found.append(Lines(options.style))
    return found


def _close_quietly(writer: CaptureWriter) -> None:
    with suppress(WriteFailed):  # the write that failed first was reported already
        writer.close()


def file_format(
    options: SniffOptions,
    linktype: int,
    interfaces: Sequence[tuple[str, int]] = (),
    counts: Callable[[], dict[str, InterfaceCounts]] = dict,
    start_ns: int = 0,
) -> Format:
    """Return the format for -w's file name: pcapng if it ends in .pcapng, else classic pcap.

    ``interfaces``, ``counts`` and ``start_ns`` describe a live capture (see PcapngFormat).
    """
    assert options.write is not None
    capture = options.capture
    if options.write.endswith(".pcapng"):
        return PcapngFormat(
            capture.snaplen,
            filter_text=capture.filter_text,
            counts=counts,
            start_ns=start_ns,
            interfaces=interfaces,
        )
    return PcapFormat(linktype, capture.snaplen, nanoseconds=options.nanosecond_file)


def write_stdout(data: bytes) -> None:
    """Write all of it. Errors: WriteFailed."""
    view, descriptor = memoryview(data), 1
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except BrokenPipeError:
        raise WriteFailed("standard output was closed by its reader") from None
    except OSError as error:
        raise WriteFailed(f"cannot write to standard output: {error.strerror}") from None


def report_error(error: NetkatError, print_status: PrintStatus) -> int:
    """Print an error that occurred during the run; return the exit code for it."""
    print_status(f"netkat: {error.message}")
    if error.hint is not None:
        print_status(f"  next: {error.hint}")
    return 1


def pluralise(count: int, noun: str) -> str:
    """Return "1 flow", "2 flows"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
