"""Watching interfaces: one ring each, their packets in one stream."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from netkat.bpf.libpcap import NETMASK_UNKNOWN
from netkat.bpf.pcap_filter import (
    MAX_SNAPLEN,
    compile_filter,
    cooked_to_kernel,
    with_direction,
    with_snaplen,
)
from netkat.capture import linktype as lt
from netkat.capture.packet import Packet, from_record
from netkat.capture.weave import Weave
from netkat.errors import BadArgument, InterfaceDown, InterfaceNotFound, LibraryMissing
from netkat.wire.ring import ANY, BLOCK, Block, ReceiveRing, hardware_type

if TYPE_CHECKING:
    from netkat.stack.records import RecordCopier

DEFAULT_BUFFER = 32 * BLOCK
ANY_NAME = "any"
HOLD_MS = 40
"""A block that is handed over early is a block less: on a quiet link a ring holds as many
packets as it has blocks, and this many milliseconds times that is how long a reader
may be busy elsewhere before packets are lost."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What to watch and how; the defaults are tcpdump's."""

    interfaces: tuple[str, ...] = (ANY_NAME,)
    filter_text: str = ""
    direction: str = "inout"
    promiscuous: bool = True
    snaplen: int = MAX_SNAPLEN
    buffer: int = DEFAULT_BUFFER
    """Bytes of ring an interface."""
    hold_ms: int = HOLD_MS
    """Milliseconds that a packet may wait in the ring for company."""
    optimize: bool = True
    linktype: int | None = None
    """Only LINUX_SLL2 can be asked for where another is usual."""


class Counts(NamedTuple):
    """The kernel's counters of one interface's ring."""

    received: int
    dropped: int


@dataclass(slots=True)
class _Source:
    name: str
    linktype: int
    ring: ReceiveRing
    matches: object | None
    """A filter that only user space can run, over the whole cooked packet."""


class LiveCapture:
    """Rings on the interfaces of a Watch, armed when the constructor returns.

    Opened in the calling thread's network namespace and usable from any thread
    afterwards. close() is idempotent; wake() may be called from anywhere.
    Errors: those of compile_filter() and of ReceiveRing.
    """

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._names = dict(socket.if_nameindex())
        self.began_ns = time.time_ns()
        self._fault: InterfaceDown | None = None
        self._weave = Weave(watch.hold_ms / 1000 * 2 + 0.005)
        self._sources: list[_Source] = []
        with ExitStack() as undo:
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            undo.callback(os.close, self._wake)
            for name in dict.fromkeys(watch.interfaces):
                source = _source(name, watch, self._names)
                undo.callback(source.ring.close)
                self._sources.append(source)
            self._poll = select.poll()
            for source in self._sources:
                self._poll.register(source.ring.fileno(), select.POLLIN)
            self._poll.register(self._wake, select.POLLIN)
            self._undo = undo.pop_all()

    @property
    def sources(self) -> list[tuple[str, int]]:
        """Each interface's name and link type."""
        return [(source.name, source.linktype) for source in self._sources]

    def watch_descriptor(self, descriptor: int) -> None:
        """End a wait() when this descriptor, too, becomes readable."""
        self._poll.register(descriptor, select.POLLIN)

    def filenos(self) -> list[int]:
        """Descriptors that poll readable while packets wait or after wake(), for an event loop."""
        return [*(source.ring.fileno() for source in self._sources), self._wake]

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for packets, at most ``timeout`` seconds; False after wake() or in vain."""
        timeout = self.due(timeout)
        ready = self._poll.poll(None if timeout is None else max(timeout, 0) * 1000)
        woken = any(descriptor == self._wake for descriptor, _ in ready)
        if woken:
            with suppress(BlockingIOError):
                os.eventfd_read(self._wake)
        return bool(ready) and not woken

    def due(self, timeout: float | None = None) -> float | None:
        """Seconds until packets() has something no descriptor tells of; ``timeout`` at most."""
        if self._fault is not None:
            return 0
        if self._weave:
            return self._weave.slack if timeout is None else min(timeout, self._weave.slack)
        return timeout

    def wake(self) -> None:
        """End a wait() in another thread, or the next one."""
        os.eventfd_write(self._wake, 1)

    def blocks(self) -> Iterator[tuple[str, int, Block]]:
        """The blocks that wait, in place: each is gone when the next is asked for.

        Errors: InterfaceDown when an interface went down or away.
        """
        for source in self._sources:
            # As many as the ring has: a busy link must not starve the others.
            for _ in range(max(2, self.watch.buffer // BLOCK)):
                block = source.ring.take()
                if block is None:
                    break
                try:
                    yield source.name, source.linktype, block
                finally:
                    source.ring.release()

    @property
    def in_place(self) -> bool:
        """True when blocks() holds exactly what packets() would: no filter left to user space."""
        return all(source.matches is None for source in self._sources)

    def packets(self) -> list[Packet]:
        """The packets that wait, by time.

        Errors: InterfaceDown, once what was taken before it has been given.
        """
        if self._fault is not None:
            if self._weave:
                return self._weave.rest()
            fault, self._fault = self._fault, None
            raise fault
        found: list[Packet] = []
        asked_at = time.time_ns()
        for source in self._sources:
            for _ in range(max(2, self.watch.buffer // BLOCK)):
                try:
                    block = source.ring.take()
                except InterfaceDown as down:
                    self._fault = down
                    break
                if block is None:
                    break
                found += self._read(source, block)
                source.ring.release()
        if len(self._sources) > 1:
            self._weave.add(found)
            found = self._weave.ready(asked_at)
        if self._fault is not None and not found and not self._weave:
            fault, self._fault = self._fault, None
            raise fault
        return found

    def read(self, name: str, block: Block) -> list[Packet]:
        """The packets of a block that blocks() gave."""
        source = next(source for source in self._sources if source.name == name)
        return self._read(source, block)

    def _read(self, source: _Source, block: Block) -> list[Packet]:
        packets = []
        for record in block.records():
            name = source.name
            if name == ANY_NAME:
                name = self._name(record.interface)
            packets.append(from_record(record, name, source.linktype))
        if source.matches is not None:
            matches = source.matches
            packets = [one for one in packets if matches(one.raw, one.length)]  # type: ignore[operator]
        return packets

    def _name(self, index: int) -> str:
        name = self._names.get(index)
        if name is None:
            # An interface made after we began. This asks the namespace of the
            # calling thread, so within --netns it may not be known.
            try:
                name = socket.if_indextoname(index)
            except OSError:
                name = f"if{index}"
            self._names[index] = name
        return name

    def stop(self) -> list[Packet]:
        """Let nothing more in; what was in the rings until now."""
        for source in self._sources:
            source.ring.stop()
        # The kernel hands over a block that is not full when its time is up.
        limit = time.monotonic() + self.watch.hold_ms / 1000 * 2 + 0.01
        rest: list[Packet] = []
        while (left := limit - time.monotonic()) > 0:
            self._poll.poll(left * 1000)
            rest += self.packets()
        rest += self._weave.rest()
        return rest

    def counts(self) -> dict[str, Counts]:
        """The kernel's counters, by interface."""
        return {source.name: Counts(*source.ring.statistics()) for source in self._sources}

    def close(self) -> None:
        """Close; more than once is once."""
        self._undo.close()


def program_for(
    name: str, watch: Watch, *, expression: str | None = None
) -> tuple[int, list[tuple[int, int, int, int]]]:
    """Link type of the interface, and the filter as libpcap made it for that."""
    linktype = lt.LINUX_SLL2 if name == ANY_NAME else lt.of_hardware(hardware_type(name))
    if watch.linktype is not None and watch.linktype != linktype:
        if watch.linktype != lt.LINUX_SLL2:
            raise BadArgument(
                f"{name} is captured as {lt.describe(linktype)}, not as "
                f"{lt.describe(watch.linktype)}",
                hint="-y takes that name or LINUX_SLL2",
            )
        linktype = lt.LINUX_SLL2
    text = watch.filter_text if expression is None else expression
    program = compile_filter(
        text,
        linktype=lt.to_dlt(linktype),
        snaplen=watch.snaplen,
        optimize=watch.optimize,
        netmask=_netmask(name) if "broadcast" in text else NETMASK_UNKNOWN,
        device=name,
    )
    return linktype, program


def _source(name: str, watch: Watch, names: dict[int, str]) -> _Source:
    if name != ANY_NAME and name not in names.values():
        raise InterfaceNotFound(f"no interface {name}", hint="netkat sniff -D lists the interfaces")
    linktype, program = program_for(name, watch)
    cooked, matches = linktype == lt.LINUX_SLL2, None
    if cooked:
        kernel = cooked_to_kernel(program)
        if kernel is None:
            from netkat.bpf.libpcap import Matcher

            matches = Matcher(program)
            kernel = [(6, 0, 0, watch.snaplen)]
        program = kernel
    loopback = next((index for index, known in names.items() if known == "lo"), 0)
    program = with_direction(
        with_snaplen(program, watch.snaplen),
        watch.direction,
        loopback if name in (ANY_NAME, "lo") else 0,
    )
    ring = ReceiveRing(
        ANY if name == ANY_NAME else name,
        program,
        cooked=cooked,
        promiscuous=watch.promiscuous,
        size=watch.buffer,
        hold_ms=watch.hold_ms,
    )
    return _Source(name, linktype, ring, matches)


def _netmask(name: str) -> int:
    """IPv4 netmask of an interface, for ``ip broadcast``."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe, 0x891B, name.encode().ljust(40, b"\0"))  # SIOCGIFNETMASK
        except OSError:
            return NETMASK_UNKNOWN
    return int.from_bytes(answer[20:24], "little")


def first_interface(names: Sequence[str]) -> str:
    """What is watched without -i: the first interface that is not loopback, as tcpdump does."""
    return next((name for name in names if name != "lo"), ANY_NAME)


def block_copier() -> RecordCopier | None:
    """What copies whole blocks into files; None without the library, and Python does it, slower."""
    from netkat.stack.records import RecordCopier

    try:
        return RecordCopier(BLOCK)
    except LibraryMissing:
        return None
