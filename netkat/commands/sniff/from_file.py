"""Reading a capture file."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import ExitStack

from netkat.commands.sniff.assembly import Say, fault, file_format, outputs, plural
from netkat.commands.sniff.sniff_options import SniffRequest
from netkat.capture import linktype as lt
from netkat.capture.capture_file import CaptureFile
from netkat.capture.capture_writer import LastFileWritten
from netkat.capture.file_filter import Selection
from netkat.capture.packet import Packet
from netkat.errors import NetkatError

_BATCH = 256
"""Packets that are printed with one write."""


def read_file(request: SniffRequest, say: Say) -> int:
    """Show, count or rewrite what the file holds; the exit code. Errors: NetkatError."""
    assert request.read is not None
    with CaptureFile(request.read) as file, ExitStack() as undo:
        selection = Selection(request.watch, file.linktype)
        name = "standard input" if request.read == "-" else f"file {request.read}"
        say(
            f"reading from {name}, link-type {lt.describe(file.linktype)}, "
            f"snapshot length {file.snaplen}"
        )
        places = outputs(request, undo, lambda: file_format(request, file.linktype))
        undo.enter_context(_quiet_interrupt())
        code, counted = 0, 0
        try:
            for batch in _batches(selection.of(file.packets), request.count):
                counted += len(batch)
                for output in places:
                    output.packets(batch)
        except NetkatError as error:
            code = fault(error, say)
        except (LastFileWritten, KeyboardInterrupt):
            pass
        for output in places:
            try:
                output.finish()
            except NetkatError as error:
                code = code or fault(error, say)
        if request.only_count:
            print(plural(counted, "").rstrip())
        return code


def _quiet_interrupt() -> ExitStack:
    """SIGINT as KeyboardInterrupt while a file is read: there is no wait that it has to end."""
    import signal

    undo = ExitStack()
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        undo.callback(signal.signal, signal.SIGINT, before)
    return undo


def _batches(packets: Iterable[Packet], limit: int) -> Iterable[list[Packet]]:
    """Packets in lists; what came before a fault is handed on first."""
    batch: list[Packet] = []
    left = limit or sys.maxsize
    try:
        for packet in packets:
            batch.append(packet)
            left -= 1
            if len(batch) >= _BATCH or not left:
                full, batch = batch, []
                yield full
                if not left:
                    return
    except NetkatError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch
