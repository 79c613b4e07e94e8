"""The compiled filter program, for -d."""

from __future__ import annotations

from netkat.bpf.filters.libpcap import Instruction, image
from netkat.bpf.filters.pcap_filter import compile_filter
from netkat.capture import linktype as lt
from netkat.capture.capture_file import CaptureFile
from netkat.capture.capture_options import CaptureOptions
from netkat.capture.ring_source import program_for
from netkat.capture.run_in_netns import run_in_netns


def compile_for(
    options: CaptureOptions, netns: str | int | None, path: str | None
) -> list[Instruction]:
    """Return the program that libpcap compiles for the first interface or for a file.

    The program given to the kernel also has -Q's test and, for cooked captures, changed offsets.
    """
    if path is not None:
        with CaptureFile(path) as file:
            return compile_filter(
                options.filter_text,
                linktype=lt.to_dlt(file.linktype),
                snaplen=options.snaplen,
                optimize=options.optimize,
            )
    if options.linktype is not None:
        return compile_filter(
            options.filter_text,
            linktype=lt.to_dlt(options.linktype),
            snaplen=options.snaplen,
            optimize=options.optimize,
        )
    return run_in_netns(netns, lambda: program_for(options.interfaces[0], options)[1])


def disassemble(program: list[Instruction]) -> str:
    """Return the program as tcpdump -d prints it."""
    return image(program)
