"""Read a capture file."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from itertools import islice

from netkat.capture import linktype as lt
from netkat.capture.capture_file import CaptureFile
from netkat.capture.capture_writer import LastFileWritten
from netkat.capture.file_filter import FileFilter
from netkat.capture.packet import Packet
from netkat.capture.text.escape import escape
from netkat.commands.sniff.outputs import (
    PacketOutput,
    PrintStatus,
    file_format,
    open_outputs,
    pluralise,
    report_error,
)
from netkat.commands.sniff.sniff_options import SniffOptions
from netkat.errors import NetkatError

_BATCH = 256
"""Packets that are printed with one write."""


def read_file(options: SniffOptions, print_status: PrintStatus) -> int:
    """Print, count or copy the packets of a file; return the exit code. Errors: NetkatError."""
    assert options.read is not None
    with CaptureFile(options.read) as file, ExitStack() as undo:
        file_filter = FileFilter(options.capture, file.linktype)
        name = "standard input" if options.read == "-" else f"file {escape(options.read)}"
        print_status(
            f"reading from {name}, link-type {lt.describe(file.linktype)}, "
            f"snapshot length {file.snaplen}"
        )
        outputs = open_outputs(options, undo, lambda: file_format(options, file.linktype))
        undo.enter_context(_interrupt_raises())
        code, count = 0, 0
        try:
            for batch in _batches(file_filter.apply(file.packets), options.count):
                count += len(batch)
                for output in outputs:
                    output.packets(batch)
        except NetkatError as error:
            code = report_error(error, print_status)
        except (LastFileWritten, KeyboardInterrupt):
            pass
        code = _finish(outputs, code, print_status)
        if options.only_count:
            print(pluralise(count, "packet"))
        return code


def _finish(outputs: Iterable[PacketOutput], code: int, print_status: PrintStatus) -> int:
    for output in outputs:
        try:
            output.finish()
        except NetkatError as error:
            code = code or report_error(error, print_status)
    return code


def _interrupt_raises() -> ExitStack:
    """Make SIGINT raise KeyboardInterrupt: reading a file has no wait that polls a descriptor."""
    undo = ExitStack()
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        undo.callback(signal.signal, signal.SIGINT, before)
    return undo


def _batches(packets: Iterable[Packet], limit: int) -> Iterable[list[Packet]]:
    """Yield packets in lists; packets read before an error are yielded before it is raised."""
    found, left = iter(packets), limit or sys.maxsize
    while left:
        batch: list[Packet] = []
        try:
            # An error leaves the packets before it in the list.
            batch.extend(islice(found, min(_BATCH, left)))
        except NetkatError:
            if batch:
                yield batch
            raise
        if not batch:
            return
        left -= len(batch)
        yield batch
