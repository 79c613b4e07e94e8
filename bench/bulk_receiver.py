"""The kernel's end of bulk measurements, which counts bytes and time."""

from __future__ import annotations

import contextlib
import queue
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.testbed import Host, listening

BLOCK = 1 << 20


@dataclass(frozen=True)
class Count:
    """Bytes, and the times of the first and last one (time.monotonic())."""

    total: int
    begun: float
    ended: float


@dataclass
class BulkReceiver:
    """A listener that reads all connections to EOF in parallel."""

    port: int = 0
    counts: queue.Queue[Count] = field(default_factory=queue.Queue)

    def take(self, connections: int = 1) -> list[Count]:
        """Return the counts of the next connections. Errors: queue.Empty after a minute."""
        return [self.counts.get(timeout=60) for _ in range(connections)]

    def rate(self, connections: int = 1) -> float:
        """Return the Gbit/s of the next connections together."""
        return rate(self.take(connections))


def rate(counts: list[Count]) -> float:
    """Return the Gbit/s from the first byte of any to the last byte of all."""
    took = max(count.ended for count in counts) - min(count.begun for count in counts)
    return sum(count.total for count in counts) * 8 / took / 1e9


@contextlib.contextmanager
def sink(host: Host) -> Iterator[BulkReceiver]:
    """Run a BulkReceiver in the namespace."""
    made = BulkReceiver()

    def serve(conn: socket.socket) -> None:
        made.counts.put(swallow(conn))

    with listening(host, serve, at_once=True) as made.port:
        yield made


def swallow(conn: socket.socket) -> Count:
    """Read to EOF."""
    buffer = memoryview(bytearray(BLOCK))
    total = count = conn.recv_into(buffer)
    begun = time.monotonic()
    while count:
        count = conn.recv_into(buffer)
        total += count
    return Count(total, begun, time.monotonic())


def pour(conn: socket.socket, size: int) -> Count:
    """Send ``size`` bytes and wait until the peer has closed."""
    block = memoryview(bytes(BLOCK))
    begun = time.monotonic()
    for _ in range(size // BLOCK):
        conn.sendall(block)
    conn.shutdown(socket.SHUT_WR)
    while conn.recv(BLOCK):
        pass
    return Count(size, begun, time.monotonic())
