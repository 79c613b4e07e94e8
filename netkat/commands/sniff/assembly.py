"""What live captures and files have in common: outputs, words, a fault in the middle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from netkat.commands.sniff.outputs import FileOutput, JsonLines, Lines, Output, Statistics, counted
from netkat.commands.sniff.sniff_options import SniffRequest
from netkat.capture.capture_writer import CaptureWriter, Format, WriteFailed
from netkat.capture.pcap import PcapFormat
from netkat.capture.pcapng import InterfaceCounts, PcapngFormat
from netkat.errors import NetkatError

Say = Callable[[str], None]


def outputs(request: SniffRequest, undo: ExitStack, form: Callable[[], Format]) -> list[Output]:
    """Where this run's packets go. Errors: BadArgument when a file cannot be made."""
    found: list[Output] = []
    if request.write is not None:
        writer = CaptureWriter(request.write, form(), request.rotation)
        undo.callback(_close_quietly, writer)
        found.append(FileOutput(writer))
    if request.json:
        found.append(JsonLines())
    elif request.stats:
        found.append(Statistics())
    elif request.show and not request.only_count:
        found.append(Lines(request.style))
    return found


def _close_quietly(writer: CaptureWriter) -> None:
    try:
        writer.close()
    except WriteFailed:
        pass  # said already, by the write that failed first


def file_format(
    request: SniffRequest,
    linktype: int,
    interfaces: Sequence[tuple[str, int]] = (),
    counts: Callable[[], dict[str, InterfaceCounts]] = dict,
    start_ns: int = 0,
) -> Format:
    """What the name of -w asks for: pcapng where it ends so, else a classic capture file.

    ``interfaces``, ``counts`` and ``start_ns`` are a live capture's, as PcapngFormat takes them.
    """
    assert request.write is not None
    watch = request.watch
    if request.write.endswith(".pcapng"):
        return PcapngFormat(
            watch.snaplen,
            filter_text=watch.filter_text,
            counts=counts,
            start_ns=start_ns,
            interfaces=interfaces,
        )
    return PcapFormat(linktype, watch.snaplen, nanoseconds=request.nanosecond_file)


def fault(error: NetkatError, say: Say) -> int:
    """Say what went wrong in the middle; the exit code for it."""
    say(f"netkat: {error.message}")
    if error.hint is not None:
        say(f"  next: {error.hint}")
    return 1


def plural(count: int, what: str) -> str:
    """ "1 packet captured", "2 packets captured"."""
    return f"{counted(count, 'packet')} {what}"
