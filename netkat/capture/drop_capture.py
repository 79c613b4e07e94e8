"""Packets that the kernel dropped, with the reason and the kernel function."""

from __future__ import annotations

import bisect
import os
import socket
import struct
import time

from netkat.bpf.drops import drop_watch
from netkat.bpf.filters.libpcap import FilterRefused, Matcher
from netkat.bpf.filters.pcap_filter import compile_filter
from netkat.capture import linktype as lt
from netkat.capture.capture_options import CaptureOptions
from netkat.capture.packet import Packet

_SLL2 = struct.Struct("!HxxIHBB8s")
_PREFIX = "SKB_DROP_REASON_"
_IP = (0x0800, 0x86DD)


class DropCapture:
    """Drops in the calling thread's network namespace that match the filter.

    The filter is applied to the packet from its network header on. If it uses link-layer
    headers, which a drop event does not have, all drops match and ``filtered`` is False.
    Errors: those of netkat.bpf.drops.drop_watch.DropWatch.
    """

    def __init__(self, options: CaptureOptions) -> None:
        self._matches: Matcher | None = None
        self.filtered = True
        if options.filter_text.strip():
            try:
                program = compile_filter(options.filter_text, linktype=lt.LINUX_SLL2)
                self._matches = Matcher(program)
            except FilterRefused:
                self.filtered = False
        self._names = dict(socket.if_nameindex())
        self._symbols = _Symbols()
        self._watch = drop_watch.DropWatch(os.stat("/proc/thread-self/ns/net").st_ino)

    def fileno(self) -> int:
        """Return a descriptor that polls readable while drops are available."""
        return self._watch.fileno()

    def packets(self) -> list[Packet]:
        """Return the drops since the last call, by time; ``drop`` has the reason and the place."""
        shift = _monotonic_to_real()
        found = []
        for drop in self._watch.take():
            packet = self._packet(drop, shift)
            if packet is not None:
                found.append(packet)
        found.sort(key=lambda one: one.time_ns)
        return found

    def lost(self) -> int:
        """Return the number of drop events that were lost because the buffer was full."""
        return self._watch.lost()

    def close(self) -> None:
        """Detach from the tracepoint. Idempotent."""
        self._watch.close()

    def _packet(self, drop: drop_watch.Drop, shift: int) -> Packet | None:
        protocol = socket.ntohs(drop.protocol)
        cooked = _SLL2.pack(protocol, drop.interface, 0, 0, 0, b"") + drop.data
        length = _length(drop.data, protocol, drop.length)
        if self._matches is not None and not self._matches(cooked, length + 20):
            return None
        bare = protocol in _IP
        return Packet(
            drop.monotonic + shift,
            length if bare else length + 20,
            drop.data if bare else cooked,
            lt.RAW if bare else lt.LINUX_SLL2,
            self._names.get(drop.interface, ""),
            drop=self._why(drop),
        )

    def _why(self, drop: drop_watch.Drop) -> str:
        reason = self._watch.reasons.get(drop.reason, f"reason {drop.reason}")
        where = self._symbols.name(drop.location)
        name = reason.removeprefix(_PREFIX)
        interface = self._names.get(drop.interface, "")
        return " ".join(
            (name, *(("on", interface) if interface else ()), *(("in", where) if where else ()))
        )


def _monotonic_to_real() -> int:
    """Return the difference of the two clocks in nanoseconds, exact to well under a microsecond.

    A drop follows its frame by a few microseconds. An error of that size would sort it before
    the frame.
    """
    best, shift = 1 << 62, 0
    for _ in range(5):
        before, real, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        if after - before < best:
            best, shift = after - before, real - (before + after) // 2
    return shift


def _length(data: bytes, protocol: int, skb: int) -> int:
    """Return the length in the IP header: skb->len depends on the layer that dropped the packet."""
    if protocol == 0x0800 and len(data) >= 4:
        return int.from_bytes(data[2:4], "big") or max(skb, len(data))
    if protocol == 0x86DD and len(data) >= 6:
        return 40 + int.from_bytes(data[4:6], "big")
    return max(skb, len(data))


class _Symbols:
    """Kernel functions by address, from /proc/kallsyms."""

    def __init__(self) -> None:
        self._addresses: list[int] = []
        self._names: list[str] = []
        try:
            with open("/proc/kallsyms", encoding="ascii", errors="replace") as file:
                lines = [line.split() for line in file]
        except OSError:
            return
        table = sorted((int(words[0], 16), words[2]) for words in lines if words[1] in "tTwW")
        # With kptr_restrict an unprivileged reader gets 0 for all addresses.
        if table and table[-1][0]:
            self._addresses = [address for address, _ in table]
            self._names = [name for _, name in table]

    def name(self, address: int) -> str:
        """Return the function that contains the address, or ""."""
        at = bisect.bisect_right(self._addresses, address) - 1
        return self._names[at] if at >= 0 else ""
