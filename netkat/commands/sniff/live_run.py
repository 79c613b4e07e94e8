"""Watching interfaces, from the first socket to the last count."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from netkat.commands.sniff.assembly import Say, fault, file_format, outputs, plural
from netkat.commands.sniff.capture_signals import CaptureSignals
from netkat.commands.sniff.outputs import FileOutput, Output, Statistics
from netkat.commands.sniff.sniff_options import SniffRequest
from netkat.capture import linktype as lt
from netkat.capture.capture_writer import CaptureWriter, LastFileWritten
from netkat.capture.live_capture import LiveCapture, block_copier
from netkat.capture.own_frames import OwnFrames
from netkat.capture.packet import Packet
from netkat.capture.pcapng import InterfaceCounts
from netkat.capture.reorder_buffer import Weave
from netkat.capture.run_in_netns import in_place
from netkat.errors import BadArgument, InterfaceDown, NetkatError

if TYPE_CHECKING:
    from netkat.capture.drop_capture import DropWatch


class LiveRun:
    """Watching interfaces."""

    def __init__(self, request: SniffRequest, say: Say) -> None:
        self._request, self._say = request, say
        self._captured = 0
        self._outputs: list[Output] = []
        self._counts: dict[str, InterfaceCounts] = {}
        self._drops: DropWatch | None = None
        self._weave = Weave(request.watch.hold_ms / 1000 * 2 + 0.005)

    def run(self) -> int:
        """Open, watch, count, close."""
        request = self._request
        with ExitStack() as undo:
            signals = undo.enter_context(CaptureSignals())
            capture = in_place(request.netns, self._open)
            undo.callback(capture.close)
            capture.watch_descriptor(signals.fd)
            if request.drops:
                from netkat.capture.drop_capture import DropWatch

                drops = in_place(request.netns, lambda: DropWatch(request.watch))
                undo.callback(drops.close)
                capture.watch_descriptor(drops.fileno())
                self._drops = drops
                if not drops.filtered:
                    self._say("netkat: this filter asks for link headers: --drops shows every drop")
            if request.user is not None:
                become(request.user)
            linktypes = {linktype for _, linktype in capture.sources}
            self._check_linktypes(linktypes)
            self._outputs = outputs(
                request,
                undo,
                lambda: file_format(
                    request,
                    min(linktypes),
                    capture.sources,
                    lambda: self._read_counts(capture),
                    capture.began_ns,
                ),
            )
            # A file of a rotation to come may be in a folder of somebody else's.
            rotates = request.rotation.size or request.rotation.seconds
            capture.drop_privileges(but=("CAP_DAC_OVERRIDE",) if rotates else ())
            for name, linktype in capture.sources:
                self._say(
                    f"listening on {name}, link-type {lt.describe(linktype)}, "
                    f"snapshot length {request.watch.snaplen} bytes"
                )
            return self._until_the_end(capture, signals)

    def _open(self) -> LiveCapture:
        request = self._request
        marks = request.json or request.show
        return LiveCapture(request.watch, OwnFrames() if marks else None)

    def _check_linktypes(self, linktypes: set[int]) -> None:
        write = self._request.write
        if write is not None and len(linktypes) > 1 and not write.endswith(".pcapng"):
            raise BadArgument(
                "these interfaces have different link types, and a classic capture file holds one",
                hint="give -w a name that ends in .pcapng",
            )

    def _until_the_end(self, capture: LiveCapture, signals: CaptureSignals) -> int:
        code = 0
        try:
            self._watch(capture, signals)
            if not self._enough():
                self._take_rest(capture)
        except LastFileWritten:
            pass
        except InterfaceDown as error:
            # The interface is gone, its last packets are still in the ring.
            code = fault(error, self._say)
            code = self._take_what_is_left(capture, code)
        except NetkatError as error:
            code = fault(error, self._say)
        self._counts = self._read_counts(capture)
        for output in self._outputs:
            try:
                output.finish()
            except NetkatError as error:
                code = code or fault(error, self._say)
            if isinstance(output, FileOutput):
                # A write that failed in the middle of many, a last file of -W: this many are kept.
                self._captured = output.writer.written
        self._say_counts("\n")
        return code

    def _take_rest(self, capture: LiveCapture) -> None:
        rest = capture.stop()
        if self._drops is not None:
            self._weave.add(rest)
            self._weave.add(self._drops.packets())
            rest = self._weave.rest()
        self._take(rest)

    def _take_what_is_left(self, capture: LiveCapture, code: int) -> int:
        try:
            self._take_rest(capture)
        except InterfaceDown:
            pass  # another of several; that the first is gone was said
        except NetkatError as error:
            return fault(error, self._say)
        return code

    def _watch(self, capture: LiveCapture, signals: CaptureSignals) -> None:
        fast = self._fast_writer(capture)
        if fast is not None:
            # The library's threads keep what they find: they come after the drop.
            fast.use(block_copier())
        while not signals.ended and not self._enough():
            capture.wait(self._patience())
            signals.clear()
            if fast is not None:
                self._copy_blocks(capture, fast)
            elif self._drops is not None:
                asked_at = time.time_ns()
                self._weave.add(capture.packets())
                self._weave.add(self._drops.packets())
                self._take(self._weave.ready(asked_at))
            else:
                self._take(capture.packets())
            if signals.take_counts():
                self._counts = self._read_counts(capture)
                self._say_counts(", ")
            for output in self._outputs:
                if isinstance(output, Statistics):
                    output.tick()

    def _patience(self) -> float | None:
        """Seconds until something is due though no descriptor says so."""
        if self._weave:
            return self._weave.slack
        return 1.0 if self._request.stats else None

    def _fast_writer(self, capture: LiveCapture) -> CaptureWriter | None:
        """The file, when nothing but it wants the packets: blocks then go through unopened."""
        if len(self._outputs) != 1 or self._request.count or self._drops or not capture.in_place:
            return None
        output = self._outputs[0]
        return output.writer if isinstance(output, FileOutput) else None

    def _copy_blocks(self, capture: LiveCapture, writer: CaptureWriter) -> None:
        for name, linktype, block in capture.blocks():
            if not writer.block(block, name, linktype):
                writer.packets(capture.read(name, block))
            self._captured += block.count

    def _take(self, packets: list[Packet]) -> None:
        if not packets:
            return
        if self._request.count:
            packets = packets[: self._request.count - self._captured]
        self._captured += sum(1 for packet in packets if not packet.drop)
        for output in self._outputs:
            output.packets(packets)

    def _enough(self) -> bool:
        return bool(self._request.count) and self._captured >= self._request.count

    def _read_counts(self, capture: LiveCapture) -> dict[str, InterfaceCounts]:
        return {
            name: InterfaceCounts(received, dropped)
            for name, (received, dropped) in capture.counts().items()
        }

    def _say_counts(self, separator: str) -> None:
        received = sum(one.received for one in self._counts.values())
        dropped = sum(one.dropped for one in self._counts.values())
        text = separator.join(
            (
                plural(self._captured, "captured"),
                plural(received, "received by filter"),
                plural(dropped, "dropped by kernel"),
            )
        )
        for line in text.split("\n"):
            self._say(line)
        if self._drops is not None and (lost := self._drops.lost()):
            self._say(f"{lost} drops could not be told of: too many at once")


def become(user: str) -> None:
    """Give up root for this user, for good (-Z). Errors: BadArgument."""
    import pwd

    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise BadArgument(f"-Z: no user {user!r}") from None
    try:
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except PermissionError:
        raise BadArgument(f"-Z: only root can become {user}") from None
