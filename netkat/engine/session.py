"""One flow that is in use: its endpoint in the stack and everything held on its behalf."""

from __future__ import annotations

import errno
import socket
import threading
import time
from typing import TYPE_CHECKING

from netkat.errors import NetkatError, NetworkError, NextHopSilent, NoRoute, TimedOut
from netkat.flow import Flow, Protocol
from netkat.system_calls import system_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from netkat.engine.attempt import FlowPlan
    from netkat.engine.fault_messages import Evidence
    from netkat.engine.path import Path
    from netkat.engine.uplink import Uplink
    from netkat.host.port_reservation import PortReservation
    from netkat.stack import Endpoint, Poured, StackError


THROWN_AWAY = errno.ENOBUFS
"""The errno of a send that a qdisc or an egress hook dropped."""

SLICE = 0.1
"""Seconds that a call may last without the interpreter lock: a thread that has signal
handlers to run, or is waited for by one that asks what was sent, is back by then."""
_SHORTEST, _LONGEST = 0.0005, 0.02
"""Seconds between two checks of what is acknowledged."""

_MANY = 1 << 15
_ALL = 1 << 62


def _slice(timeout: float | None) -> int:
    """In milliseconds, rounded up."""
    return int(1000 * (SLICE if timeout is None else min(timeout, SLICE))) + 1


class Session:
    """An endpoint, with its flow, its path, its reserved port and the uplink that it lives on.

    The last to let go is close() or abort(); both may be called from any thread,
    any number of times, and wake every waiting thread.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        uplink: Uplink,
        flow: Flow,
        path: Path,
        reservation: PortReservation | None,
    ) -> None:
        self.endpoint, self.uplink = endpoint, uplink
        self.flow, self.path = flow, path
        self.reservation = reservation
        self._holds = True
        self._lock = threading.Lock()
        self._bridged = self.ended = False
        """``ended`` once close() or abort() was called, or bridge()."""
        self.proved = False
        """Whether the guard has shown that it keeps this flow from the kernel."""
        # Refusals are counted by wire: those before this flow were others'.
        self._refused_before = uplink.wire.tally[THROWN_AWAY]
        self._without_memory_before = uplink.wire.tally[errno.ENOMEM]
        self.plan: Callable[[], Path] | FlowPlan | None = None
        """Plans the path again, in the network namespace."""
        self._out = uplink
        """The attachment that the flow's packets leave by."""
        self._lost: NetkatError | None = None
        """Why there is no path now."""
        self.received = 0
        self.sent = 0
        self._sending = threading.Lock()

    @property
    def bridged(self) -> bool:
        """True once bridge() was called: another has it now."""
        return self._bridged

    @property
    def fault_fd(self) -> int:
        """Polls readable once the interface has failed."""
        return self.uplink.fault_fd

    @property
    def link_fault(self) -> NetkatError | None:
        """The interface's error; None while it works."""
        return self.uplink.fault

    def use_path(self, path: Path, out: Uplink) -> None:
        """Send by this path from now on; ``out`` is the attachment to its interface.

        Errors: GuardFailed and other SetupErrors, where the other interface cannot be used.
        """
        with self._lock:
            same = path == self.path and out is self._out and self._lost is None
            if same or self.endpoint.closed:
                return
            before, self._out = self._out, out
            if out in (before, self.uplink):
                out.admission.update(self.flow, path.next_hop)
            else:
                out.add(self.flow, path.next_hop)
            other = None if out is self.uplink else out.stack
            self.endpoint.set_path(path.for_stack(other))
            if before not in (out, self.uplink):
                before.remove(self.flow)
            self.path, self._lost = path, None

    def lose_path(self, reason: NetkatError) -> None:
        """Send nothing until there is a path again. TCP goes on trying, as in the kernel."""
        with self._lock:
            if self.endpoint.closed:
                return
            self._lost = reason if isinstance(reason, OSError) else NoRoute(f"no path: {reason}")
            self.endpoint.set_path(None)

    def leave_other_interface(self) -> None:
        """For the uplink, after the endpoint is closed: release the flow on another interface."""
        with self._lock:
            other, self._out = self._out, self.uplink
        if other is not self.uplink:
            other.remove(self.flow)

    def send(self, data: Buffer, timeout: float | None) -> int:
        """Hand over bytes; how many were taken. Errors: as the endpoint's.

        With a ``timeout`` other than 0.0 (None: no limit) many bytes of a stream are all
        taken, or as many as there was room for in SLICE seconds, or in the timeout.
        """
        if self._lost is not None and self.flow.protocol is Protocol.UDP:
            raise self._lost
        # An answer may be there before it returns: who is told of it must find the count.
        with self._sending:
            if timeout != 0.0 and self._at_length(memoryview(data), timeout):
                count = self.endpoint.pour(data, _slice(timeout))
            else:
                count = self.endpoint.send(data)
            self.sent += count
        return count

    def pour_from(self, descriptor: int) -> Poured:
        """Send what a regular file or a pipe gives, for SLICE seconds at most.

        Errors: as the endpoint's.
        """
        with self._sending:
            poured = self.endpoint.pour_from(descriptor, _ALL, _slice(None))
            self.sent += poured.taken
        return poured

    def receive(self, view: memoryview, timeout: float | None) -> int:
        """Read what has come; how many bytes. Errors: as the endpoint's.

        With a ``timeout`` other than 0.0 and room for many bytes of a stream it waits for
        SLICE seconds, or the timeout, and takes what comes meanwhile.
        """
        if timeout != 0.0 and self._at_length(view, timeout):
            return self.endpoint.gather(view, _slice(timeout))
        return self.endpoint.recv_into(view)

    def _at_length(self, view: memoryview, timeout: float | None) -> bool:
        return timeout != 0.0 and view.nbytes > _MANY and self.flow.protocol is Protocol.TCP

    def flush(self) -> None:
        """Send what the stack has waiting, on this thread."""
        self.uplink.flush()

    def wait(self, descriptor: int, deadline: float | None, cancel_fd: int | None = None) -> bool:
        """Wait for the endpoint's descriptor; False when the deadline passed or cancel_fd fired.

        Errors: the uplink's fault (InterfaceDown and the like).
        """
        all_of_them = [descriptor, self.uplink.fault_fd]
        if cancel_fd is not None:
            all_of_them.append(cancel_fd)
        ready = self.uplink.wait(all_of_them, deadline)
        if self.uplink.fault is not None and descriptor not in ready:
            raise self.uplink.fault
        return descriptor in ready

    def prove(self) -> None:
        """The first answer came: the guard must have seen it too. Asked once a flow.

        Errors: GuardFailed; the connection is aborted then, since the kernel answers it as well.
        """
        if self.proved:
            return
        try:
            self.uplink.prove(self.flow)
        except NetkatError:
            self.abort()
            raise
        self.proved = True

    def evidence(self, waited: float | None = None) -> Evidence:
        """What is known of this flow now.

        Errors: OutOfMemory, if the local host had no memory to send its packets.
        """
        from netkat.engine.fault_messages import Evidence

        refused = self.uplink.wire.refused(THROWN_AWAY)
        seen = self.uplink.stack.observe(self.flow)
        unsent = self.uplink.wire.refused(errno.ENOMEM) - self._without_memory_before
        if unsent and not seen.frames_received:
            error = OSError(errno.ENOMEM, "")
            raise system_error(error, f"send {unsent} packets (sendmmsg) on {self.path.link.name}")
        return Evidence(
            flow=self.flow,
            path=self.path,
            seen=seen,
            refused_frames=refused - self._refused_before,
            egress_hooks=self.uplink.egress_hooks,
            waited=waited,
        )

    def fault(self, error: StackError, *, connecting: bool = False) -> NetkatError:
        """Return the NetkatError for a stack error, with what was observed on the wire."""
        from netkat.engine import fault_messages
        from netkat.stack import Code

        if self.uplink.fault is not None:
            return self.uplink.fault
        if self.flow.remote is None:
            # What the wire shows is kept by flow, and this one has no peer.
            if error.code is not Code.NEXT_HOP:
                return error
            name = self.path.link.name
            return NextHopSilent(f"a next hop on {name} did not answer", interface=name)
        evidence = self.evidence()
        match error.code:
            case Code.UNREACHABLE | Code.NEXT_HOP if self._lost is not None:
                return self._lost
            case Code.REFUSED:
                return fault_messages.refused(evidence)
            case Code.UNREACHABLE:
                return fault_messages.unreachable(evidence)
            case Code.NEXT_HOP:
                return fault_messages.next_hop_silent(evidence)
            case Code.RESET if connecting:
                return fault_messages.refused(evidence)
            case Code.RESET | Code.PIPE if error.code is Code.RESET or evidence.seen.resets:
                # gVisor calls a connection that a RST has ended after the peer's FIN closed.
                with self._sending:
                    sent = self.sent
                return fault_messages.reset(evidence, received=self.received, sent=sent)
            case Code.TIMEOUT if connecting:
                return fault_messages.no_answer(evidence)
            case Code.TIMEOUT:
                return fault_messages.gave_up(evidence)
            case _:
                return error

    def no_answer(self, waited: float) -> NetworkError:
        """Why a connect had no answer in ``waited`` seconds, as far as the wire shows it."""
        from netkat.engine.fault_messages import no_answer

        return no_answer(self.evidence(round(waited, 1)))

    def unanswered(self, waited: float | None = None) -> NetworkError | None:
        """Why not one datagram came back, where the wire shows it; None where it does not."""
        from netkat.engine.fault_messages import unanswered

        return None if self.received else unanswered(self.evidence(waited))

    def timed_out(self, seconds: float | None) -> NetkatError:
        """Return the error for the caller's timeout; on UDP an ICMP error may be the reason."""
        if self.flow.protocol is Protocol.UDP and self.flow.remote is not None:
            fault = self.unanswered(seconds)
            if fault is not None:
                return fault
        return TimedOut(f"timed out after {seconds:g} s" if seconds is not None else "timed out")

    def bridge(self, descriptor: int) -> None:
        """Hand the connection over to a socketpair, of which ``descriptor`` is one end.

        It has ended for its owner; the uplink looks after it until the other end of the
        pair is closed, and the peer is done. Errors: StackError, and OSError (EBADF) when
        it has ended before; the descriptor is the caller's then.
        """
        with self._lock:
            if self.ended:
                raise OSError(errno.EBADF, "the connection is closed")
            self.uplink.bridge(self, descriptor)
            self._bridged = self.ended = True

    def hand_over(self) -> int:
        """The descriptor of a new socket that has the connection from now on. Errors: as bridge."""
        mine, stacks = socket.socketpair()
        try:
            # The byte that gostack.h asks for: what a RST is told by.
            mine.send(b"\0")
            self.bridge(stacks.fileno())
            stacks.detach()
            return mine.detach()
        finally:
            mine.close()
            stacks.close()

    def close(self) -> None:
        """Let go: what it holds is delivered, and TCP's FIN, while the uplink lives.

        With SO_LINGER and a time of 0 it is abort(); with another time it returns when the
        peer has acknowledged everything, or after that time. In a forked child nothing is
        sent: the connection is the parent's.
        """
        if self.uplink.process.forked():
            self.ended = True
            return
        with self._lock:
            if self.ended:
                return
            linger = self._linger()
            self.ended = True
        if linger == 0:
            self.uplink.drop(self)
            return
        # A datagram may wait for its next hop, whose answer comes in for this flow alone.
        if self.flow.protocol is Protocol.UDP and not self.endpoint.leaving():
            self.uplink.drop(self)
        else:
            self.uplink.retire(self)
        if linger:
            self._wait_delivered(linger)

    def _linger(self) -> int | None:
        """SO_LINGER's seconds; None where it is off."""
        from netkat.stack import Option

        if self.flow.protocol is Protocol.UDP:
            return None
        value = self.endpoint.get_option(Option.LINGER)
        return value - 1 if value else None

    def _wait_delivered(self, seconds: int) -> None:
        pause, end = _SHORTEST, time.monotonic() + seconds
        # There is no descriptor for an acknowledgement.
        while not self.endpoint.delivered() and self.uplink.fault is None:
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST)

    def abort(self) -> None:
        """End at once; the peer gets a RST. In a forked child as close()."""
        if self.uplink.process.forked():
            self.ended = True
            return
        with self._lock:
            if self.ended:
                return
            self.ended = True
        self.uplink.drop(self)

    def release(self) -> None:
        """Release what was held for the flow. The uplink calls it after the endpoint is closed."""
        with self._lock:
            held, self._holds = self._holds, False
        if held:
            self.uplink.remove(self.flow)
            if self.reservation is not None:
                self.reservation.close()
