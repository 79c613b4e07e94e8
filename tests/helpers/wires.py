"""Packet sockets in a test's namespaces, and a fast sender of frames."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from netkat.bpf.filters.cbpf import Instruction
from netkat.bpf.filters.classic_filter import classic_filter
from netkat.flow import Flow, IPAddress, Protocol
from netkat.wire.packet_socket import PacketSocket
from netkat.wire.vnet_hdr import VnetHeader
from tests.helpers.frames import OwnReceiveBatch, OwnSendBatch
from tests.helpers.netns import Host, Namespace, Pair
from tests.helpers.packets import ethernet

EVERYTHING = [Instruction(0x06, 0, 0, 0xFFFFFFFF)]


@contextmanager
def wire(
    space: Namespace,
    interface: str = "eth0",
    program: Sequence[Instruction] = EVERYTHING,
    **options: Any,
) -> Iterator[PacketSocket]:
    """A packet socket on an interface of a namespace."""
    options.setdefault("ethernet", True)

    def opened() -> PacketSocket:
        index = socket.if_nametoindex(interface)
        return PacketSocket(interface, index, filter=program, **options)

    sock = space.call(opened)
    try:
        yield sock
    finally:
        sock.close()


def flow_of(pair: Pair, version: int, protocol: Protocol, port: int, remote_port: int) -> Flow:
    """A flow from the pair's host to its peer."""
    host, peer = pair.host.ip_address(version), pair.peer.ip_address(version)
    return Flow(protocol, host, port, peer, remote_port)


def filter_of(*flows: Flow, hop: IPAddress | None = None) -> list[Instruction]:
    return classic_filter(dict.fromkeys(flows, hop), ethernet=True)


def collect(
    sock: PacketSocket,
    done: Callable[[list[tuple[VnetHeader, bytes]]], bool],
    timeout: float = 5,
) -> list[tuple[VnetHeader, bytes]]:
    """Frames as they come, until ``done`` says so; fails when it never does."""
    batch, found = OwnReceiveBatch(), list[tuple[VnetHeader, bytes]]()
    end = time.monotonic() + timeout
    while not done(found):
        left = end - time.monotonic()
        assert left > 0, f"{len(found)} frames, and no more"
        select.select([sock], [], [], left)
        found += batch.take(sock.receive(batch))
    return found


def frames(sock: PacketSocket, count: int, timeout: float = 5) -> list[bytes]:
    """The first ``count`` frames, and no more than that."""
    found = collect(sock, lambda seen: len(seen) >= count, timeout)
    assert len(found) == count
    return [frame for _, frame in found]


def nothing_more(sock: PacketSocket, wait: float = 0.2) -> None:
    """No frame comes within ``wait`` seconds."""
    batch = OwnReceiveBatch(4)
    select.select([sock], [], [], wait)
    assert batch.take(sock.receive(batch)) == []


def send(sock: PacketSocket, given: Sequence[bytes | tuple[VnetHeader, bytes]]) -> None:
    """Send frames, 64 a batch."""
    for start in range(0, len(given), 64):
        batch = OwnSendBatch(given[start : start + 64])
        sock.send(batch, batch.capacity)


def between(source: Host, destination: Host, packet: bytes, ethertype: int) -> bytes:
    """An Ethernet frame from one host's MAC to the other's."""
    macs = [bytes.fromhex(side.mac.replace(":", "")) for side in (source, destination)]
    return ethernet(packet, ethertype, source=macs[0], destination=macs[1])


@contextmanager
def udp_socket(space: Namespace, address: str, port: int = 0) -> Iterator[socket.socket]:
    """A kernel socket inside, bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def opened() -> socket.socket:
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.settimeout(5)
        sock.bind((address, port))
        return sock

    with space.call(opened) as sock:
        yield sock
