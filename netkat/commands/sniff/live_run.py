"""Capture on interfaces: open the sockets, drop privileges, output packets, print the counts."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from netkat.capture import linktype as lt
from netkat.capture.capture_writer import CaptureWriter, LastFileWritten
from netkat.capture.live_capture import LiveCapture, block_copier
from netkat.capture.own_frames import OwnFrameMarker
from netkat.capture.packet import Packet
from netkat.capture.pcapng import InterfaceCounts
from netkat.capture.reorder_buffer import ReorderBuffer
from netkat.capture.run_in_netns import run_in_netns
from netkat.commands.sniff.capture_signals import CaptureSignals
from netkat.commands.sniff.outputs import (
    FileOutput,
    PacketOutput,
    PrintStatus,
    file_format,
    open_outputs,
    pluralise,
    report_error,
)
from netkat.commands.sniff.sniff_options import SniffOptions
from netkat.errors import BadArgument, InterfaceDown, NetkatError

if TYPE_CHECKING:
    from netkat.capture.drop_capture import DropCapture
    from netkat.commands.sniff.flow_report import FlowReport


class LiveRun:
    """One live capture."""

    def __init__(self, options: SniffOptions, print_status: PrintStatus) -> None:
        self._options, self._print_status = options, print_status
        self._captured = 0
        self._outputs: list[PacketOutput] = []
        self._counts: dict[str, InterfaceCounts] = {}
        self._drops: DropCapture | None = None
        self._reorder = ReorderBuffer(options.capture.hold_ms / 1000 * 2 + 0.005)

    def run(self) -> int:
        """Run the capture to its end; return the exit code. Errors: NetkatError at start-up."""
        options = self._options
        with ExitStack() as undo:
            signals = undo.enter_context(CaptureSignals())
            capture = run_in_netns(options.netns, self._open)
            undo.callback(capture.close)
            capture.watch_descriptor(signals.fd)
            if options.drops:
                self._open_drops(capture, undo)
            if options.user is not None:
                switch_user(options.user)
            linktypes = {linktype for _, linktype in capture.sources}
            self._check_linktypes(linktypes)
            self._outputs = open_outputs(
                options,
                undo,
                lambda: file_format(
                    options,
                    min(linktypes),
                    capture.sources,
                    lambda: self._read_counts(capture),
                    capture.began_ns,
                ),
            )
            # The next file of a rotation may be in another user's directory.
            rotates = options.rotation.size or options.rotation.seconds
            capture.drop_privileges(but=("CAP_DAC_OVERRIDE",) if rotates else ())
            for name, linktype in capture.sources:
                self._print_status(
                    f"listening on {name}, link-type {lt.describe(linktype)}, "
                    f"snapshot length {options.capture.snaplen} bytes"
                )
            return self._run_to_end(capture, signals)

    def _open(self) -> LiveCapture:
        options = self._options
        marks = options.json or options.show
        return LiveCapture(options.capture, OwnFrameMarker() if marks else None)

    def _open_drops(self, capture: LiveCapture, undo: ExitStack) -> None:
        from netkat.capture.drop_capture import DropCapture

        options = self._options
        self._drops = run_in_netns(options.netns, lambda: DropCapture(options.capture))
        undo.callback(self._drops.close)
        capture.watch_descriptor(self._drops.fileno())
        if not self._drops.filtered:
            self._print_status(
                "netkat: filter uses link-layer headers: --drops shows all dropped packets"
            )

    def _check_linktypes(self, linktypes: set[int]) -> None:
        write = self._options.write
        if write is not None and len(linktypes) > 1 and not write.endswith(".pcapng"):
            raise BadArgument(
                "a classic capture file holds one link type, and these interfaces have several",
                hint="give -w a file name that ends in .pcapng",
            )

    def _run_to_end(self, capture: LiveCapture, signals: CaptureSignals) -> int:
        code = 0
        try:
            self._capture_packets(capture, signals)
            if not self._limit_reached():
                self._take_rest(capture)
        except LastFileWritten:
            pass
        except InterfaceDown as error:
            # The interface is gone, but its last packets are still in the ring.
            code = report_error(error, self._print_status)
            code = self._take_rest_after_error(capture, code)
        except NetkatError as error:
            code = report_error(error, self._print_status)
        self._counts = self._read_counts(capture)
        for output in self._outputs:
            try:
                output.finish()
            except NetkatError as error:
                code = code or report_error(error, self._print_status)
            if isinstance(output, FileOutput):
                # Fewer than captured if a write failed or -W's last file was reached.
                self._captured = output.writer.written
        self._print_counts("\n")
        return code

    def _take_rest(self, capture: LiveCapture) -> None:
        rest = capture.stop()
        if self._drops is not None:
            self._reorder.add(rest)
            self._reorder.add(self._drops.packets())
            rest = self._reorder.flush()
        self._take(rest)

    def _take_rest_after_error(self, capture: LiveCapture, code: int) -> int:
        try:
            self._take_rest(capture)
        except InterfaceDown:
            pass  # a second interface: the first one was reported
        except NetkatError as error:
            return report_error(error, self._print_status)
        return code

    def _capture_packets(self, capture: LiveCapture, signals: CaptureSignals) -> None:
        fast = self._fast_writer(capture)
        if fast is not None:
            # Loaded after privileges are dropped: the library's threads keep what they start with.
            fast.use(block_copier())
        report = self._flow_report()
        while not signals.ended and not self._limit_reached():
            capture.wait(self._timeout())
            signals.clear()
            if fast is not None:
                self._copy_blocks(capture, fast)
            elif self._drops is not None:
                asked_at = time.time_ns()
                self._reorder.add(capture.packets())
                self._reorder.add(self._drops.packets())
                self._take(self._reorder.ready(asked_at))
            else:
                self._take(capture.packets())
            if signals.take_counts_request():
                self._counts = self._read_counts(capture)
                self._print_counts(", ")
            if report is not None:
                report.tick()

    def _flow_report(self) -> FlowReport | None:
        if not self._options.stats:
            return None
        from netkat.commands.sniff.flow_report import FlowReport

        return next(output for output in self._outputs if isinstance(output, FlowReport))

    def _timeout(self) -> float | None:
        """Return the seconds until something is due that no descriptor signals."""
        if self._reorder:
            return self._reorder.slack
        return 1.0 if self._options.stats else None

    def _fast_writer(self, capture: LiveCapture) -> CaptureWriter | None:
        """Return the file if it is the only output, so that ring blocks are copied whole."""
        if len(self._outputs) != 1 or self._options.count or self._drops is not None:
            return None
        if not capture.blocks_match:
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
        if self._options.count:
            packets = packets[: self._options.count - self._captured]
        self._captured += sum(1 for packet in packets if not packet.drop)
        for output in self._outputs:
            output.packets(packets)

    def _limit_reached(self) -> bool:
        return bool(self._options.count) and self._captured >= self._options.count

    def _read_counts(self, capture: LiveCapture) -> dict[str, InterfaceCounts]:
        return {
            name: InterfaceCounts(received, dropped)
            for name, (received, dropped) in capture.counts().items()
        }

    def _print_counts(self, separator: str) -> None:
        received = sum(one.received for one in self._counts.values())
        dropped = sum(one.dropped for one in self._counts.values())
        text = separator.join(
            (
                f"{pluralise(self._captured, 'packet')} captured",
                f"{pluralise(received, 'packet')} received by filter",
                f"{pluralise(dropped, 'packet')} dropped by kernel",
            )
        )
        for line in text.split("\n"):
            self._print_status(line)
        if self._drops is not None and (lost := self._drops.lost()):
            self._print_status(f"{pluralise(lost, 'drop event')} lost (buffer full)")


def switch_user(user: str) -> None:
    """Switch this process to a user permanently (-Z). Errors: BadArgument."""
    import pwd

    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise BadArgument(f"-Z: no such user: {user!r}") from None
    try:
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except PermissionError:
        raise BadArgument(f"-Z: switching to {user} requires root") from None
