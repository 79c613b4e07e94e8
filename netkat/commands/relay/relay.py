"""Copy standard input to the peer and the peer to standard output.

One thread per direction copies data. The calling thread waits in poll(2) for their wake-ups,
for timeouts and for the cancel descriptor.

When a TCP relay ends (stop_rules.py):

- EOF on stdin sends FIN; data is received until the peer's FIN, for at most ``linger``.
- The peer's FIN ends the relay at once if stdin is a terminal, at EOF, or not read. From a
  pipe or a file it keeps sending until EOF, a RST, or QUIET_TIME without input: a peer that
  half-closed still reads, and one that is gone replies with RST.
- In both cases it waits until the last byte and the FIN are acknowledged (drain.py).

UDP has no FIN: after EOF on stdin the relay ends QUIET_TIME after the last datagram.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable

from netkat.commands.relay.directions import (
    LARGEST_PAYLOAD,
    Conn,
    Direction,
    ReceiveLoop,
    SendLoop,
    Sink,
)
from netkat.commands.relay.drain import AckWaiter, unacked_bytes, wait_until_sent
from netkat.commands.relay.relay_options import FOR_EVER, PLAIN, RelayOptions
from netkat.commands.relay.stdio import Discard, Input, Output, StopEvent, is_null_device
from netkat.commands.relay.stop_rules import (
    THREAD_END,
    DatagramRule,
    IdleRule,
    StopReason,
    StopRule,
    StreamRule,
)
from netkat.commands.relay.transforms import CrlfTransform, TelnetReader, Transform, escape_telnet
from netkat.errors import ConnectionReset, Undelivered
from netkat.flow import Protocol

Until = Callable[[ReceiveLoop, "SendLoop | None", StopRule], StopRule]
"""Makes the stop rule of a relay from the rule of the protocol."""


class Relay:
    """A connection between the descriptors ``stdin`` (None: not read) and ``stdout``.

    It ends when ``cancel_fd`` is readable. ``stdout`` may make another sink, and ``until``
    a stop rule in place of the protocol's. After run() the caller closes the connection.
    """

    def __init__(
        self,
        conn: Conn,
        *,
        stdin: int | None,
        stdout: int | Callable[[StopEvent], Sink],
        cancel_fd: int,
        options: RelayOptions = PLAIN,
        version: int = 4,
        until: Until | None = None,
    ) -> None:
        self._conn, self._cancel_fd, self._options = conn, cancel_fd, options
        self._until = until
        self._stream = conn.protocol is Protocol.TCP
        self._stop = StopEvent()
        self._wakeup_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        sink = Output(stdout, self._stop) if isinstance(stdout, int) else stdout(self._stop)
        self._receiver = ReceiveLoop(
            conn,
            Discard() if options.send_only else sink,
            self._stop,
            self._wakeup_fd,
            transform=TelnetReader(self._answer) if options.telnet else None,
            limit=options.receive_limit,
        )
        self._sender: SendLoop | None = None
        self._terminal = False
        if stdin is not None and self._is_input(stdin):
            source = Input(stdin, self._stop)
            self._terminal = source.terminal
            self._sender = self._sending(source, LARGEST_PAYLOAD[version])

    @property
    def sent(self) -> int:
        """Bytes of the input that the connection accepted."""
        return self._sender.moved if self._sender is not None else 0

    @property
    def received(self) -> int:
        """Bytes received from the peer."""
        return self._receiver.moved

    @property
    def pending(self) -> int:
        """Bytes read from the input that the connection has not accepted yet."""
        return self._sender.pending if self._sender is not None else 0

    @property
    def peer_closed_after_fin(self) -> bool:
        """True if the peer closed without sending data, and only after netkat's FIN."""
        if self._sender is None or self._options.send_only:
            return False
        sent = self._sender.fin_at
        closed = self._receiver.ended_at
        return sent is not None and closed is not None and sent <= closed and not self.received

    def run(self) -> StopReason:
        """Copy data until the relay ends. Errors: NetworkError, LocalStreamFailed, Undelivered."""
        reason = self._run()
        truncated = self._receiver.truncated
        # --send-only ignores what the peer sends, so a truncated stream is no error.
        if truncated is None or reason is StopReason.CANCELLED or self._options.send_only:
            return reason
        raise truncated

    def _run(self) -> StopReason:
        self._conn.settimeout(None)
        for direction in self._directions():
            direction.start()
        try:
            reason = self._supervise()
            self._stop.set()
            if reason is not StopReason.CANCELLED and self._stream:
                return self._wait_for_acks(reason)
            if self._sender is not None:
                # It may be returning from a send: pending is valid after that.
                self._sender.join(THREAD_END)
            if not self._stream and reason is not StopReason.CANCELLED:
                return (
                    reason if wait_until_sent(self._conn, self._cancel_fd) else StopReason.CANCELLED
                )
            return reason
        finally:
            if not self._stop.is_set:
                self._stop.set()

    def wake(self) -> None:
        """Evaluate the stop rules again; from any thread, before close()."""
        os.eventfd_write(self._wakeup_fd, 1)

    def close(self) -> None:
        """Release what run() used. The connection is closed by now, which wakes its threads.

        A thread that is blocked in a write to stdout keeps its descriptors.
        """
        for direction in self._directions():
            if direction.ident is not None:
                direction.join(THREAD_END)
        if (
            not any(direction.is_alive() for direction in self._directions())
            and self._wakeup_fd >= 0
        ):
            os.close(self._wakeup_fd)
            self._stop.close()
            self._wakeup_fd = -1

    def _is_input(self, stdin: int) -> bool:
        """Return False for the null device unless -N, -q or --send-only is given."""
        options = self._options
        wanted = options.fin_requested or options.send_only or options.linger is not None
        return wanted or not is_null_device(stdin)

    def _ends_with_fin(self, stdin: int) -> bool:
        options = self._options
        return options.fin_requested or options.send_only or not is_null_device(stdin)

    def _directions(self) -> list[Direction]:
        return [self._receiver] if self._sender is None else [self._receiver, self._sender]

    def _sending(self, source: Input, largest: int) -> SendLoop:
        options = self._options
        transform: Transform | None = CrlfTransform() if options.crlf else None
        if options.telnet:
            before = transform
            transform = (
                escape_telnet if before is None else lambda view: escape_telnet(before(view))
            )
        return SendLoop(
            self._conn,
            source,
            self._stop,
            self._wakeup_fd,
            # Every byte may become two.
            payload=min(options.datagram_size, largest // 2 if transform is not None else largest),
            transform=transform,
            interval=options.interval,
            shutdown=options.shutdown and self._ends_with_fin(source.fd),
        )

    def _answer(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._conn.send(view) :]

    def _rules(self) -> list[StopRule]:
        options, receiver, sender = self._options, self._receiver, self._sender
        began = time.monotonic()
        rules: list[StopRule] = []
        linger = 0.0 if options.linger is None and options.send_only else options.linger
        if self._stream:
            rules.append(
                StreamRule(
                    self._conn,
                    receiver,
                    sender,
                    terminal=self._terminal,
                    linger=FOR_EVER if linger is None else linger,
                    to_error=self._to_error,
                )
            )
        else:
            rules.append(DatagramRule(receiver, sender, linger=linger, began=began))
        if self._until is not None:
            rules = [self._until(receiver, sender, rules[0])]
        if options.idle is not None:
            seconds = options.idle
            rules.append(IdleRule(self._conn, receiver, sender, seconds=seconds, began=began))
        return rules

    def _supervise(self) -> StopReason:
        poller = select.poll()
        poller.register(self._cancel_fd, select.POLLIN)
        poller.register(self._wakeup_fd, select.POLLIN)
        rules = self._rules()
        while True:
            now = time.monotonic()
            moments: list[float] = []
            for rule in rules:
                decision = (
                    StopReason.OUTPUT_CLOSED if self._receiver.output_closed else rule.evaluate(now)
                )
                if isinstance(decision, StopReason):
                    return decision
                if decision is not None:
                    moments.append(decision)
            # Rounded up, so that the last millisecond does not spin.
            timeout = max(0, int((min(moments) - now) * 1000) + 1) if moments else None
            for descriptor, _ in poller.poll(timeout):
                if descriptor == self._cancel_fd:
                    return StopReason.CANCELLED
                os.eventfd_read(self._wakeup_fd)

    def _wait_for_acks(self, reason: StopReason) -> StopReason:
        waiter = AckWaiter(
            self._conn, cancel_fd=self._cancel_fd, sender=self._sender, wakeup_fd=self._wakeup_fd
        )
        if reason is StopReason.IDLE_TIMEOUT:
            assert self._options.idle is not None
            done = waiter.wait(self._options.idle, needs_fin=False)
        else:
            done = waiter.wait()
        return reason if done else StopReason.CANCELLED

    def _to_error(self, fault: Exception) -> Exception:
        """Add the number of lost bytes to a reset."""
        if not isinstance(fault, ConnectionReset):
            return fault
        count = unacked_bytes(self._conn) + self.pending
        if not count:
            return fault
        return Undelivered(f"{fault.message}; {count} bytes not acknowledged", count=count)
