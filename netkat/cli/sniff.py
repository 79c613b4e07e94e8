"""``netkat sniff``: tcpdump's letters."""

from __future__ import annotations

from typing import Any

from netkat.cli import options_shared as shared
from netkat.cli import options_sniff as options
from netkat.cli.console import say
from netkat.cli.dispatch import PlainCommand
from netkat.errors import BadArgument

_ABSENT = {
    "-E": "decrypting ESP is not there; use tshark",
    "-I": "Wi-Fi monitor mode is not there; use tcpdump",
    "-H": "802.11s headers are not there; use tcpdump",
    "-m": "SMI MIB modules are not there; use tcpdump",
    "-M": "checking TCP MD5 signatures is not there; use tcpdump",
    "-T": "choosing a decoder by force is not there; use tshark -d",
    "-u": "undecoded NFS handles are not there; use tcpdump",
    "-b": "AS numbers in ASDOT are not there; use tcpdump",
    "-f": "foreign names are not there: addresses are always numbers",
    "-j": "choosing a time stamp type is not there: the kernel's own is taken",
    "-J": "choosing a time stamp type is not there: the kernel's own is taken",
    "-z": "a command after each rotation is not there; watch the directory instead",
    "-V": "a list of files is not there; use mergecap, then -r",
}


class SniffCommand(PlainCommand):
    """Says why a letter of tcpdump's is not there."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As always; for an unknown option that tcpdump has, the reason."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            name = getattr(error, "option_name", None)
            if name in _ABSENT:
                raise BadArgument(f"sniff {name}: {_ABSENT[name]}") from None
            raise


def sniff(
    expression: options.Expression = None,
    interface: options.Interface = None,
    list_interfaces: options.ListInterfaces = False,
    count: options.Count = None,
    only_count: options.OnlyCount = False,
    write: options.Write = None,
    read: options.Read = None,
    numeric: options.Numeric = 0,
    link: options.Link = False,
    hexadecimal: options.Hexadecimal = 0,
    hex_ascii: options.HexAscii = 0,
    ascii_only: options.AsciiOnly = False,
    snaplen: options.Snaplen = None,
    verbose: options.Verbose = 0,
    line_buffered: options.LineBuffered = False,
    packet_buffered: options.PacketBuffered = False,
    immediate: options.Immediate = False,
    quiet: options.Quiet = False,
    absolute: options.Absolute = False,
    number: options.Number = False,
    stamp: options.Stamp = 0,
    micro: options.Micro = False,
    nano: options.Nano = False,
    precision: options.Precision = None,
    no_checksums: options.NoChecksums = False,
    no_promiscuous: options.NoPromiscuous = False,
    direction: options.Direction = None,
    buffer: options.Buffer = None,
    rotate_size: options.RotateSize = None,
    rotate_seconds: options.RotateSeconds = None,
    rotate_files: options.RotateFiles = None,
    filter_file: options.FilterFile = None,
    dump_program: options.DumpProgram = 0,
    user: options.User = None,
    show: options.Show = False,
    linktype: options.Linktype = None,
    no_optimizer: options.NoOptimizer = False,
    json: options.Json = False,
    stats: options.Stats = False,
    drops: options.Drops = False,
    version: shared.Version = False,
    netns: shared.Netns = None,
    pod: shared.Pod = None,
    container: shared.Container = None,
) -> int:
    """Capture packets, or read them from a file.

    A frame is seen before tc and netfilter on its way in, and after them on its
    way out: what an egress rule dropped never shows here. --drops says what
    the kernel threw away.
    """
    given = dict(locals())
    # Not above: this module is read for every command, and connect has no use for these.
    from netkat.cli import sniff_arguments as values

    if list_interfaces:
        from netkat.commands.sniff.sniff_command import print_interfaces

        return print_interfaces(values.place(given))
    sniff_options = values.sniff_options(given)
    if dump_program:
        from netkat.commands.sniff.sniff_command import print_program

        return print_program(sniff_options, dump_program)
    from netkat.commands.sniff.sniff_command import sniff as run

    return run(sniff_options, say)
