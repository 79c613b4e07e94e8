"""Options of ``netkat sniff``: tcpdump's, and netkat's own."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from netkat.cli.options_shared import interface_names


def _flag(*names: str, text: str) -> Any:
    return typer.Option(*names, help=text)


def _count(*names: str, text: str) -> Any:
    return typer.Option(*names, help=text, count=True, show_default=False)


def _word(*names: str, metavar: str, text: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=text)


def _watchable(incomplete: str) -> list[str]:
    return [*(["any"] if "any".startswith(incomplete) else []), *interface_names(incomplete)]


Flag = bool
Word = str | None
Expression = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FILTER]...", help="Filter expression (see pcap-filter(7))."),
]
Interface = Annotated[
    list[str] | None,
    typer.Option(
        "-i",
        "--interface",
        metavar="IFACE",
        autocompletion=_watchable,
        help="Interface name, number from -D, comma-separated list, or any.",
    ),
]
ListInterfaces = Annotated[
    Flag, _flag("-D", "--list-interfaces", text="List the interfaces and exit.")
]
Count = Annotated[Word, _word("-c", metavar="N", text="Exit after N packets.")]
OnlyCount = Annotated[Flag, _flag("--count", text="Print only the packet count (with -r).")]
Write = Annotated[
    Word,
    _word(
        "-w",
        metavar="FILE",
        text="Write packets to FILE (pcapng if it ends in .pcapng; - is stdout).",
    ),
]
Read = Annotated[Word, _word("-r", metavar="FILE", text="Read packets from FILE (- is stdin).")]
Numeric = Annotated[int, _count("-n", text="Print port numbers. Addresses are always numeric.")]
Link = Annotated[Flag, _flag("-e", text="Print the link-layer header.")]
Hexadecimal = Annotated[int, _count("-x", text="Print bytes in hex; -xx with link-layer header.")]
HexAscii = Annotated[
    int, _count("-X", text="Print bytes in hex and ASCII; -XX with link-layer header.")
]
AsciiOnly = Annotated[Flag, _flag("-A", text="Print bytes as text.")]
Snaplen = Annotated[
    Word,
    _word("-s", "--snapshot-length", metavar="N", text="Snapshot length: keep N bytes per packet."),
]
Verbose = Annotated[int, _count("-v", "--verbose", text="Verbose; -vv, -vvv for more detail.")]
LineBuffered = Annotated[
    Flag, _flag("-l", text="Line-buffered output (always on; accepted for tcpdump).")
]
PacketBuffered = Annotated[
    Flag, _flag("-U", "--packet-buffered", text="Flush after each packet (with -w).")
]
Immediate = Annotated[Flag, _flag("--immediate-mode", text="Deliver packets immediately.")]
Quiet = Annotated[Flag, _flag("-q", "--quiet", text="Print shorter lines.")]
Absolute = Annotated[
    Flag,
    _flag("-S", "--absolute-tcp-sequence-numbers", text="Print absolute TCP sequence numbers."),
]
Number = Annotated[Flag, _flag("-#", "--number", text="Number the lines.")]
Stamp = Annotated[
    int,
    _count(
        "-t", text="Time stamps: -t none, -tt epoch, -ttt delta, -tttt date, -ttttt since first."
    ),
]
Micro = Annotated[Flag, _flag("--micro", text="Print microseconds (default).")]
Nano = Annotated[Flag, _flag("--nano", text="Print and write nanoseconds.")]
Precision = Annotated[
    Word, _word("--time-stamp-precision", metavar="micro|nano", text="Time stamp precision.")
]
NoChecksums = Annotated[
    Flag, _flag("-K", "--dont-verify-checksums", text="Do not verify checksums.")
]
NoPromiscuous = Annotated[
    Flag, _flag("-p", "--no-promiscuous-mode", text="Do not use promiscuous mode.")
]
Direction = Annotated[
    Word, _word("-Q", "--direction", metavar="in|out|inout", text="Capture one direction only.")
]
Buffer = Annotated[
    Word,
    _word("-B", "--buffer-size", metavar="KIB", text="Capture buffer per interface in KiB (8192)."),
]
RotateSize = Annotated[
    Word,
    _word("-C", metavar="SIZE", text="Start a new file after SIZE million bytes (or k, m, g)."),
]
RotateSeconds = Annotated[
    Word,
    _word(
        "-G",
        metavar="SECONDS",
        text="Start a new file after SECONDS; FILE may be a strftime format.",
    ),
]
RotateFiles = Annotated[
    Word,
    _word("-W", metavar="N", text="With -C, keep the last N files; with -G, exit after N files."),
]
FilterFile = Annotated[
    Word, _word("-F", metavar="FILE", text="Read the filter expression from FILE.")
]
DumpProgram = Annotated[
    int, _count("-d", text="Print the compiled filter and exit (-dd: C, -ddd: decimal).")
]
User = Annotated[
    Word, _word("-Z", "--relinquish-privileges", metavar="USER", text="Drop privileges to USER.")
]
Show = Annotated[Flag, _flag("--print", text="Print packets even with -w.")]
Linktype = Annotated[
    Word,
    _word(
        "-y", "--linktype", metavar="TYPE", text="Link type: LINUX_SLL2 omits link-layer headers."
    ),
]
NoOptimizer = Annotated[Flag, _flag("-O", "--no-optimize", text="Do not optimise the filter.")]
Json = Annotated[Flag, _flag("--json", text="Print one JSON object per packet.")]
Stats = Annotated[
    Flag, _flag("--stats", text="Show flow statistics: top flows live, all at the end.")
]
Drops = Annotated[
    Flag, _flag("--drops", text="Also show packets dropped by the kernel, with the reason.")
]
