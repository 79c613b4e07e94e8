"""--pcap: this connection's frames in a capture file, written by a thread of their own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from netkat.capture import linktype as lt
from netkat.capture.capture_writer import CaptureWriter, WriteFailed
from netkat.capture.packet import Packet
from netkat.capture.pcap import PcapFormat
from netkat.capture.pcapng import PcapngFormat

_FRAMES = 16384
"""Frames that may wait to be written; the pump never waits for a slow disk."""
_LAST_FRAMES = 5.0
"""Seconds at the end for what still waits."""
_SNAPLEN = 262144


class FrameFile:
    """A tap for the Dialer: pcapng, or a classic capture file where the name ends in .pcap.

    The constructor opens the file; start() makes the thread, so it comes after
    capabilities are gone. Errors of the constructor: BadArgument.
    """

    def __init__(self, path: str, say: Callable[[str], None]) -> None:
        self._say = say
        self._classic = path.endswith(".pcap")
        form = (
            PcapFormat(lt.ETHERNET, _SNAPLEN, nanoseconds=True)
            if self._classic
            else PcapngFormat(_SNAPLEN, comment="one connection of netkat, as it was on the wire")
        )
        self._writer = CaptureWriter(path, form)
        self._waiting: queue.SimpleQueue[Packet | None] = queue.SimpleQueue()
        self._failed = False
        self._lost = 0
        self._thread = threading.Thread(target=self._write, name="netkat-pcap", daemon=True)

    def tap(
        self, frame: bytes, outgoing: bool, interface: str, ethernet: bool, time: float
    ) -> None:
        """One frame, from a pump's thread; counted and let go where too many wait."""
        if self._failed or self._waiting.qsize() >= _FRAMES:
            self._lost += 1
            return
        self._waiting.put(
            Packet(
                round(time * 1e9),
                len(frame),
                frame,
                lt.ETHERNET if ethernet else lt.RAW,
                interface,
                "out" if outgoing else "in",
                sent_by_netkat=outgoing,
            )
        )

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self) -> None:
        """Write queued packets and close the file; idempotent."""
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join(_LAST_FRAMES)
        if self._thread.is_alive():
            return  # a disk that takes nothing: the file ends where it is
        try:
            self._writer.close()
        except WriteFailed as failed:
            self._fault(failed)
        lost, self._lost = self._lost, 0
        if lost:
            self._say(f"netkat: {lost} packets not written to {self._writer.name}")

    def _write(self) -> None:
        done = False
        while not done:
            batch = [self._waiting.get()]
            while len(batch) < 256 and not self._waiting.empty():
                batch.append(self._waiting.get())
            done = None in batch
            try:
                self._writer.packets([packet for packet in batch if packet is not None])
            except Exception as failed:
                # The connection goes on without its capture.
                self._fault(failed)
                return

    def _fault(self, failed: Exception) -> None:
        self._failed = True
        self._say(f"netkat: --pcap: {failed}")
