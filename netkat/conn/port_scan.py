"""Probe many ports in parallel: open, refused or no answer."""

from __future__ import annotations

import heapq
import resource
import select
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Protocol

from netkat.engine.bypass import Cancelled
from netkat.errors import NetkatError, Refused
from netkat.flow import Protocol as Transport
from netkat.stack.codes import StackError, WireFailed, WouldBlock

if TYPE_CHECKING:
    from netkat.conn.interfaces import Session
    from netkat.flow import IPAddress

AT_ONCE = 256
"""Ports that are waited for at the same time. gVisor keeps as many packets for a next hop
whose MAC it does not know yet, and drops the oldest beyond."""

UDP_WAIT = 2.0
"""Default seconds for an answer from a UDP port, all datagrams together."""

_OTHERS, _EACH = 64, 3
"""Descriptors that everything else may need, and those of one port (a kernel socket's)."""

DATAGRAMS = 3
"""Sent to a UDP port before its silence is believed: one may be lost, and so may the ICMP
error in answer, whose rate its sender limits (RFC 1812)."""

_ROOM = 0.01
"""Seconds until the transmit queue is checked again after it was full."""

_PAYLOAD = b"X"
"""What nc sends, too; an empty datagram is dropped by more of those who read it."""


class Ports(Protocol):
    """The ports of one destination: an engine.shared_port.SharedPort, or kernel sockets."""

    def begin(self, port: int) -> Session: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """One port of one address. Neither ``answered`` nor a ``fault``: a UDP port that is silent.

    ``sent`` counts the datagrams, ``seconds`` are from the first packet to the answer.
    ``place`` is the port's in what was asked for; ``last`` that no address is left for it.
    """

    place: int
    address: IPAddress
    port: int
    answered: bool
    fault: NetkatError | None
    sent: int
    seconds: float
    last: bool


class _Probe:
    """One port on its way through the addresses."""

    def __init__(self, place: int, port: int) -> None:
        self.place, self.port = place, port
        self.host = -1
        self.session: Session | None = None
        self.descriptor = -1
        self.began = self.deadline = 0.0
        self.sent = 0


class PortScan:
    """Asks ``ports`` of each of ``hosts`` (an address with its ports, or with the error of
    preparing it) until one answers. Iterating gives outcomes as they come.

    Errors: Cancelled when ``cancel_fd`` polls readable; GuardFailed, InterfaceDown.
    """

    def __init__(
        self,
        hosts: list[tuple[IPAddress, Ports | NetkatError]],
        ports: Iterable[int],
        protocol: Transport,
        *,
        timeout: float,
        cancel_fd: int | None = None,
    ) -> None:
        self._hosts, self._stream = hosts, protocol is Transport.TCP
        self._timeout, self._at_once, self._cancel_fd = timeout, _at_once(), cancel_fd
        self._todo = (_Probe(place, port) for place, port in enumerate(ports))
        self._running: dict[int, _Probe] = {}
        self._clock: list[tuple[float, int, _Probe]] = []
        self._ticket = count()
        self._again: list[_Probe] = []
        self._faults: dict[int, Session] = {}

    def __iter__(self) -> Iterator[Outcome]:
        with select.epoll() as self._poller:
            if self._cancel_fd is not None:
                self._poller.register(self._cancel_fd, select.EPOLLIN)
            try:
                yield from self._scan()
            finally:
                for probe in self._running.values():
                    assert probe.session is not None
                    probe.session.abort()

    def _scan(self) -> Iterator[Outcome]:
        while True:
            yield from self._fill()
            if not self._running:
                return
            for descriptor, _ in self._poller.poll(self._until_next()):
                if descriptor == self._cancel_fd:
                    raise Cancelled
                if descriptor in self._faults:
                    self._raise_fault(self._faults[descriptor])
                    continue
                probe = self._running.get(descriptor)
                if probe is not None and (outcome := self._judge(probe)) is not None:
                    yield outcome
            yield from self._expire()

    def _fill(self) -> Iterator[Outcome]:
        """Begin what there is room for, and send it all in one go."""
        begun: dict[int, Session] = {}
        while len(self._running) < self._at_once:
            probe = self._again.pop() if self._again else next(self._todo, None)
            if probe is None:
                break
            outcome = self._begin(probe)
            if outcome is not None:
                yield outcome
            elif probe.session is not None:
                begun[probe.host] = probe.session
        for session in begun.values():
            session.flush()

    def _begin(self, probe: _Probe) -> Outcome | None:
        probe.host += 1
        _, host = self._hosts[probe.host]
        probe.began, probe.sent = time.monotonic(), 0
        if isinstance(host, NetkatError):
            return self._over(probe, fault=host)
        try:
            probe.session = session = host.begin(probe.port)
        except NetkatError as error:
            return self._over(probe, fault=error)
        if session.fault_fd not in self._faults:
            self._faults[session.fault_fd] = session
            self._poller.register(session.fault_fd, select.EPOLLIN)
        endpoint = session.endpoint
        probe.descriptor = endpoint.writable_fd() if self._stream else endpoint.readable_fd()
        self._poller.register(probe.descriptor, select.EPOLLIN)
        self._running[probe.descriptor] = probe
        if self._stream:
            self._set_clock(probe, self._timeout)
            return None
        return self._send(probe)

    def _send(self, probe: _Probe) -> Outcome | None:
        """Another datagram, now or as soon as there is room for it."""
        session = probe.session
        assert session is not None
        try:
            session.endpoint.send(_PAYLOAD)
        except (WouldBlock, WireFailed):  # of a failed interface the fault descriptor tells
            session.flush()
            self._set_clock(probe, _ROOM)
            return None
        except StackError as error:
            return self._over(probe, fault=session.fault(error))
        session.sent += 1
        probe.sent += 1
        self._set_clock(probe, self._timeout / DATAGRAMS)
        return None

    def _judge(self, probe: _Probe) -> Outcome | None:
        """Its descriptor is ready; None: for nothing."""
        session = probe.session
        assert session is not None
        try:
            if self._stream:
                session.endpoint.connect_result()
            else:
                session.endpoint.recv_into(bytearray(1))
                session.received += 1
        except (WouldBlock, WireFailed):  # of a failed interface the fault descriptor tells
            return None
        except StackError as error:
            fault = session.fault(error, connecting=self._stream)
            if isinstance(fault, Refused) and fault.by == "RST":
                # A RST is an answer as well: the guard must have seen it.
                session.prove()
            return self._over(probe, fault=fault)
        session.prove()
        return self._over(probe, answered=True)

    def _expire(self) -> Iterator[Outcome]:
        now, last = time.monotonic(), None
        while self._clock and self._clock[0][0] <= now:
            deadline, _, probe = heapq.heappop(self._clock)
            session = probe.session
            if session is None or deadline != probe.deadline:
                continue
            if self._stream:
                yield self._over(probe, fault=session.no_answer(round(now - probe.began, 1)))
            elif probe.sent < DATAGRAMS and now < probe.began + self._timeout:
                outcome, last = self._send(probe), session
                if outcome is not None:
                    yield outcome
            else:
                yield self._over(probe, fault=session.unanswered(round(now - probe.began, 1)))
        if last is not None:
            last.flush()

    def _over(
        self, probe: _Probe, *, fault: NetkatError | None = None, answered: bool = False
    ) -> Outcome:
        seconds, session = time.monotonic() - probe.began, probe.session
        if session is not None:
            self._let_go(probe, session, in_order=answered)
        more = fault is not None and probe.host + 1 < len(self._hosts)
        if more:
            self._again.append(probe)
        address, _ = self._hosts[probe.host]
        return Outcome(
            probe.place, address, probe.port, answered, fault, probe.sent, seconds, not more
        )

    def _let_go(self, probe: _Probe, session: Session, *, in_order: bool) -> None:
        if self._running.pop(probe.descriptor, None) is not None:
            self._poller.unregister(probe.descriptor)
        probe.session = None
        if in_order:
            session.close()
        else:
            session.abort()

    def _set_clock(self, probe: _Probe, seconds: float) -> None:
        probe.deadline = time.monotonic() + seconds
        heapq.heappush(self._clock, (probe.deadline, next(self._ticket), probe))

    def _until_next(self) -> float:
        """Seconds; rounded up, or the last millisecond would be spent spinning."""
        return max(0.0, self._clock[0][0] - time.monotonic()) + 0.001 if self._clock else -1

    def _raise_fault(self, session: Session) -> None:
        if session.link_fault is not None:
            raise session.link_fault


def _at_once() -> int:
    """How many ports the limit of open files allows at the same time."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OTHERS + AT_ONCE * _EACH
    if soft < wanted <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return max(1, min(AT_ONCE, (soft - _OTHERS) // _EACH))
