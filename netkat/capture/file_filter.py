"""Filter packets that are read from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from netkat.bpf.filters.pcap_filter import compile_filter
from netkat.capture import linktype as lt
from netkat.capture.capture_options import CaptureOptions
from netkat.capture.packet import Packet


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

        return Matcher(
            compile_filter(
                self._options.filter_text,
                linktype=lt.to_dlt(linktype),
                snaplen=self._options.snaplen,
                optimize=self._options.optimize,
            )
        )
