"""Two stacks on one in-memory wire, moved by one thread; and one stack against crafted frames."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import TypeVar

from netkat.flow import Flow, IPAddress, Protocol
from netkat.stack import Endpoint, Stack
from netkat.wire.batch import ReceiveBatch, SendBatch
from netkat.wire.memory import PERFECT, Impairment, MemoryWire, memory_pair

BATCH = 64
PATIENCE = 20.0
"""Seconds after which a wait is a failure."""

T = TypeVar("T")


class Host:
    """A stack at one end of a wire. ``number`` is the last byte of its addresses and its MAC."""

    def __init__(self, number: int, wire: MemoryWire, mtu: int, *, gso: bool, ethernet: bool):
        self.wire = wire
        self.mac = bytes([2, 0, 0, 0, 0, number])
        self.stack = Stack(mtu, self.mac if ethernet else None, gso)
        self.addresses: dict[int, IPAddress] = {
            4: ip_address(f"10.9.0.{number}"),
            6: ip_address(f"fd00:9::{number}"),
        }
        for address in self.addresses.values():
            self.stack.add_address(address)
        self._incoming, self._outgoing = ReceiveBatch(BATCH), SendBatch(BATCH)
        self.stack.arm(self._incoming.pointer, BATCH)

    def reach(self, other: Host, *, mac: bool) -> None:
        """Teach the way to the other host, and its MAC: a stack answers no ARP, its kernel does."""
        for address in other.addresses.values():
            self.stack.add_route(address)
            if mac:
                self.stack.add_neighbor(address, other.mac)

    def turn(self) -> bool:
        """Move what waits, both ways; True when there was something."""
        stack, wire, moved = self.stack, self.wire, False
        while count := wire.receive(self._incoming):
            stack.inject(self._incoming.pointer, count)
            moved = self.drain() or moved or True
        return self.drain() or moved

    def drain(self) -> bool:
        """Move what the stack has to send onto the wire."""
        moved = False
        while count := self.stack.drain(self._outgoing.pointer, BATCH):
            self.wire.send(self._outgoing, count)
            moved = True
        return moved

    def close(self) -> None:
        self.stack.close()
        self.wire.close()


class Pump:
    """One thread that moves the frames of some hosts, asleep while there are none."""

    def __init__(self, hosts: Iterable[Host]) -> None:
        self._hosts = list(hosts)
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopping = True
        os.eventfd_write(self._stop, 1)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the pump hangs"
        os.close(self._stop)

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._stop, select.POLLIN)
        outgoing = {host.stack.outgoing_fd for host in self._hosts}
        for descriptor in outgoing | {host.wire.fileno() for host in self._hosts}:
            poller.register(descriptor, select.POLLIN)
        while not self._stopping:
            for descriptor, _ in poller.poll():
                if descriptor in outgoing:
                    os.eventfd_read(descriptor)
            moved = True
            while moved and not self._stopping:
                moved = sum(host.turn() for host in self._hosts) > 0


class Network:
    """Hosts ``a`` and ``b``, joined and pumped. A context manager."""

    def __init__(
        self,
        mtu: int = 1500,
        impairment: Impairment = PERFECT,
        *,
        gso: bool = False,
        ethernet: bool = True,
    ) -> None:
        one, other = memory_pair(mtu, impairment, ethernet=ethernet)
        self.a = Host(1, one, mtu, gso=gso, ethernet=ethernet)
        self.b = Host(2, other, mtu, gso=gso, ethernet=ethernet)
        self.a.reach(self.b, mac=ethernet)
        self.b.reach(self.a, mac=ethernet)
        self._pump = Pump([self.a, self.b])

    def flow(
        self, port: int = 80, local_port: int = 40000, version: int = 4, protocol: int = 6
    ) -> Flow:
        """A flow from a to b."""
        a, b = self.a.addresses[version], self.b.addresses[version]
        return Flow(Protocol(protocol), a, local_port, b, port)

    def listen(self, port: int = 80, version: int = 4, backlog: int = 128) -> Endpoint:
        """A listener on b."""
        return self.b.stack.listen(Flow(Protocol.TCP, self.b.addresses[version], port), backlog)

    def connect(self, flow: Flow) -> Endpoint:
        """Dial from a, until it is open."""
        return opened(self.a.stack.connect(flow))

    def pair(self, version: int = 4, port: int = 80) -> tuple[Endpoint, Endpoint]:
        """An open connection: a's end and b's."""
        with self.listen(port, version) as listener:
            client = self.connect(self.flow(port, version=version))
            server, address, _ = retry(listener.accept, listener.readable_fd())
        assert address == self.a.addresses[version]
        return client, server

    def close(self) -> None:
        self._pump.close()
        self.a.close()
        self.b.close()

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def readable(descriptor: int, seconds: float = PATIENCE) -> bool:
    """Wait for a descriptor."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(seconds * 1000))


def retry(call: Callable[[], T], descriptor: int) -> T:
    """Call until it need not wait."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except BlockingIOError:
            assert readable(descriptor), "woken for nothing, or never"
            assert time.monotonic() < end, "ready, and would wait all the same"


def opened(endpoint: Endpoint) -> Endpoint:
    """Wait until a connect is decided; closes the endpoint of one that failed."""
    try:
        retry(endpoint.connect_result, endpoint.writable_fd())
    except BaseException:
        endpoint.close()
        raise
    return endpoint


def send_all(endpoint: Endpoint, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[retry(lambda: endpoint.send(view), endpoint.writable_fd()) :]  # noqa: B023


def receive(endpoint: Endpoint, size: int = 1 << 20) -> bytes:
    """What is there, or b"" at the end of the stream."""
    buffer = bytearray(size)
    return bytes(buffer[: retry(lambda: endpoint.recv_into(buffer), endpoint.readable_fd())])


def receive_to_end(endpoint: Endpoint) -> bytes:
    parts = []
    while part := receive(endpoint):
        parts.append(part)
    return b"".join(parts)


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether it comes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True
