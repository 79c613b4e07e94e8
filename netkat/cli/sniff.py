"""``netkat sniff``, with tcpdump's options."""

from __future__ import annotations

from typing import Any

from netkat.cli import options_shared as shared
from netkat.cli import options_sniff as options
from netkat.cli.console import print_status
from netkat.cli.dispatch import PlainCommand
from netkat.errors import BadArgument

_UNSUPPORTED = {
    "-E": "not supported (ESP decryption); use tshark",
    "-I": "not supported (Wi-Fi monitor mode); use tcpdump",
    "-H": "not supported (802.11s headers); use tcpdump",
    "-m": "not supported (SMI MIB modules); use tcpdump",
    "-M": "not supported (TCP MD5 signatures); use tcpdump",
    "-T": "not supported; use tshark -d",
    "-u": "not supported (undecoded NFS handles); use tcpdump",
    "-b": "not supported (AS numbers in ASDOT); use tcpdump",
    "-f": "not supported: addresses are always numeric",
    "-j": "not supported: the kernel's software time stamps are used",
    "-J": "not supported: the kernel's software time stamps are used",
    "-z": "not supported (commands after a rotation); watch the directory instead",
    "-V": "not supported (list of files); use mergecap, then -r",
}


class SniffCommand(PlainCommand):
    """Rejects tcpdump options that are not supported, with a replacement."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; for an unsupported option of tcpdump raise BadArgument."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            name = getattr(error, "option_name", None)
            if name in _UNSUPPORTED:
                raise BadArgument(f"sniff {name}: {_UNSUPPORTED[name]}") from None
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

    Incoming packets are captured before tc and netfilter, outgoing packets
    after them, so packets dropped on egress are not captured. Use --drops to
    show packets dropped by the kernel.
    """
    given = dict(locals())
    # Imported here: this module is loaded for every command, and start-up time is measured.
    from netkat.cli import sniff_arguments as values

    if list_interfaces:
        from netkat.commands.sniff.sniff_command import print_interfaces

        return print_interfaces(values.place(given))
    sniff_options = values.sniff_options(given)
    if dump_program:
        from netkat.commands.sniff.sniff_command import print_program

        return print_program(sniff_options, dump_program)
    from netkat.commands.sniff.sniff_command import sniff as run

    return run(sniff_options, print_status)
