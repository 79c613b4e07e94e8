"""sniff's options, spelled once: tcpdump's letters and netkat's words."""

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
    typer.Argument(metavar="[FILTER]...", help="What to see, in pcap-filter(7)'s language."),
]
Interface = Annotated[
    list[str] | None,
    typer.Option(
        "-i",
        "--interface",
        metavar="IFACE",
        autocompletion=_watchable,
        help="A name, a number of -D, several with commas, or any.",
    ),
]
ListInterfaces = Annotated[
    Flag, _flag("-D", "--list-interfaces", text="List the interfaces and exit.")
]
Count = Annotated[Word, _word("-c", metavar="N", text="End after N packets.")]
OnlyCount = Annotated[Flag, _flag("--count", text="Print only how many there were.")]
Write = Annotated[
    Word,
    _word("-w", metavar="FILE", text="Write packets; pcapng where FILE ends so, - is stdout."),
]
Read = Annotated[Word, _word("-r", metavar="FILE", text="Read a capture file, - is stdin.")]
Numeric = Annotated[
    int, _count("-n", text="Port numbers, no service names. Addresses are never looked up.")
]
Link = Annotated[Flag, _flag("-e", text="Show the link header.")]
Hexadecimal = Annotated[int, _count("-x", text="Show bytes in hex; -xx with link header.")]
HexAscii = Annotated[int, _count("-X", text="In hex and ASCII; -XX with link header.")]
AsciiOnly = Annotated[Flag, _flag("-A", text="Show bytes as text.")]
Snaplen = Annotated[
    Word, _word("-s", "--snapshot-length", metavar="N", text="Keep N bytes of each.")
]
Verbose = Annotated[int, _count("-v", "--verbose", text="Say more; -vv, -vvv.")]
LineBuffered = Annotated[
    Flag, _flag("-l", text="Line by line; accepted: output never waits in a buffer.")
]
PacketBuffered = Annotated[
    Flag, _flag("-U", "--packet-buffered", text="With -w: no packet waits for company.")
]
Immediate = Annotated[Flag, _flag("--immediate-mode", text="Show each packet the moment it comes.")]
Quiet = Annotated[Flag, _flag("-q", "--quiet", text="Shorter lines.")]
Absolute = Annotated[
    Flag, _flag("-S", "--absolute-tcp-sequence-numbers", text="As they are on the wire.")
]
Number = Annotated[Flag, _flag("-#", "--number", text="Number the lines.")]
Stamp = Annotated[
    int,
    _count(
        "-t", text="No time; -tt seconds, -ttt since before, -tttt date, -ttttt since the first."
    ),
]
Micro = Annotated[Flag, _flag("--micro", text="Microseconds (the default).")]
Nano = Annotated[Flag, _flag("--nano", text="Nanoseconds, on lines and in pcap files.")]
Precision = Annotated[Word, _word("--time-stamp-precision", metavar="micro|nano", text="The same.")]
NoChecksums = Annotated[
    Flag, _flag("-K", "--dont-verify-checksums", text="Do not verify checksums.")
]
NoPromiscuous = Annotated[
    Flag, _flag("-p", "--no-promiscuous-mode", text="Leave the interface's mode alone.")
]
Direction = Annotated[
    Word, _word("-Q", "--direction", metavar="in|out|inout", text="One direction only.")
]
Buffer = Annotated[
    Word, _word("-B", "--buffer-size", metavar="KIB", text="Ring an interface (8192).")
]
RotateSize = Annotated[
    Word, _word("-C", metavar="SIZE", text="New file after SIZE million bytes (or k, m, g).")
]
RotateSeconds = Annotated[
    Word, _word("-G", metavar="SECONDS", text="New file after SECONDS; FILE by strftime.")
]
RotateFiles = Annotated[
    Word, _word("-W", metavar="N", text="-C: a ring of N files. -G: end after N files.")
]
FilterFile = Annotated[Word, _word("-F", metavar="FILE", text="Read the filter.")]
DumpProgram = Annotated[
    int, _count("-d", text="Print the filter's program; -dd as C, -ddd as numbers.")
]
User = Annotated[Word, _word("-Z", "--relinquish-privileges", metavar="USER", text="Become USER.")]
Show = Annotated[Flag, _flag("--print", text="With -w: print lines as well.")]
Linktype = Annotated[
    Word, _word("-y", "--linktype", metavar="TYPE", text="LINUX_SLL2 for no link header.")
]
NoOptimizer = Annotated[Flag, _flag("-O", "--no-optimize", text="Do not optimise the filter.")]
Json = Annotated[Flag, _flag("--json", text="One JSON object a packet.")]
Stats = Annotated[Flag, _flag("--stats", text="The busiest flows, then all of them.")]
Drops = Annotated[Flag, _flag("--drops", text="Also what the kernel throws away, and why.")]
