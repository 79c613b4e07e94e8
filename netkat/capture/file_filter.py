"""Filter packets that are read from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from netkat.bpf.filters.libpcap import Instruction
from netkat.bpf.filters.pcap_filter import compile_filter
from netkat.capture import linktype as lt
from netkat.capture.capture_options import CaptureOptions
from netkat.capture.packet import Packet
from netkat.errors import BadArgument

_LOAD, _LOAD_INDEX = 0x20, 0x21
"""BPF_LD and BPF_LDX with BPF_ABS, of any size."""
_ANCILLARY = 0xFFFFF000


class FileFilter:
    """Applies filter, direction and snapshot length to packets read from a file."""

    def __init__(self, options: CaptureOptions, linktype: int) -> None:
        """Compile the filter for the file's link type, so that errors are raised before reading."""
        self._options = options
        self._matchers: dict[int, Callable[[bytes, int], bool] | None] = {}
        self._matcher(linktype)

    def apply(self, packets: Iterable[Packet]) -> Iterator[Packet]:
        """Yield the packets that match, cut to the snapshot length."""
        options = self._options
        if options.direction == "inout" and not options.filter_text.strip():
            for packet in packets:
                if len(packet.raw) > options.snaplen:
                    packet.raw = packet.raw[: options.snaplen]
                yield packet
            return
        for packet in packets:
            if options.direction != "inout" and packet.direction not in ("", options.direction):
                continue
            matches = self._matcher(packet.linktype)
            if matches is not None and not matches(packet.raw, packet.length):
                continue
            if len(packet.raw) > options.snaplen:
                packet.raw = packet.raw[: options.snaplen]
            yield packet

    def _matcher(self, linktype: int) -> Callable[[bytes, int], bool] | None:
        if linktype not in self._matchers:
            self._matchers[linktype] = self._compile(linktype)
        return self._matchers[linktype]

    def _compile(self, linktype: int) -> Callable[[bytes, int], bool] | None:
        if not self._options.filter_text.strip():
            return None
        from netkat.bpf.filters.libpcap import Matcher

        program = compile_filter(
            self._options.filter_text,
            linktype=lt.to_dlt(linktype),
            snaplen=self._options.snaplen,
            optimize=self._options.optimize,
        )
        if any(map(_reads_kernel_metadata, program)):
            raise BadArgument(
                f"inbound and outbound are not supported in files of link type "
                f"{lt.describe(linktype)}",
                hint="use -Q in or -Q out: pcapng files have the direction of packets",
            )
        return Matcher(program)


def _reads_kernel_metadata(instruction: Instruction) -> bool:
    """Return whether it loads from SKF_AD_OFF (linux/filter.h), which only the kernel can."""
    code, _, _, k = instruction
    return code & 0xE7 in (_LOAD, _LOAD_INDEX) and k >= _ANCILLARY
