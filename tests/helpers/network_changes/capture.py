"""Where a node's packets went: read at the other end of its links, not from an object's fields."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.helpers.network_changes.lab import LIBRARIES, Lab

_VNET = struct.Struct("=BBHHHH")
_PACKET_VNET_HDR, _SOL_PACKET = 15, 263
_HEAD = 256
_ETH_P_ALL = 3
_OUTGOING = 4


class Sent(NamedTuple):
    """One TCP or UDP packet that a node sent to the peer."""

    time: float
    library: str
    """Whose node sent it."""
    link: str
    """``lan`` or ``direct``."""
    mac: str
    """Where the frame was addressed to: the next hop."""
    protocol: int
    source: str
    local_port: int
    remote_port: int
    size: int
    """Bytes of the IP packet; of a GSO packet, those of each of its segments."""


class Capture:
    """Reads until close(); ``sent`` grows meanwhile."""

    def __init__(self, lab: Lab) -> None:
        nodes = [lab.nodes[library] for library in LIBRARIES]
        self._interfaces = {node.port: (node.library, "lan") for node in nodes}
        self._interfaces |= {node.direct: (node.library, "direct") for node in nodes}
        # Not bound to an interface: a scenario deletes one and makes it again.
        self._sockets = [space.call(_open) for space in (lab.switch, lab.peer)]
        self._stop, self._stopped = socket.socketpair()
        self.sent: list[Sent] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.close()
        self._thread.join()
        for sock in (*self._sockets, self._stopped):
            sock.close()

    def _read(self) -> None:
        poller = select.poll()
        by_number = {sock.fileno(): sock for sock in self._sockets}
        for number in (*by_number, self._stopped.fileno()):
            poller.register(number, select.POLLIN)
        while True:
            for number, _ in poller.poll():
                if number == self._stopped.fileno():
                    return
                data, _, _, address = by_number[number].recvmsg(_HEAD)
                interface, kind = address[0], address[2]
                if interface not in self._interfaces or kind == _OUTGOING:
                    continue
                found = _parse(time.monotonic(), *self._interfaces[interface], data)
                if found is not None:
                    self.sent.append(found)


@contextmanager
def capture(lab: Lab) -> Iterator[Capture]:
    """What both nodes send, on both of their links."""
    made = Capture(lab)
    try:
        yield made
    finally:
        made.close()


def _open() -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
    sock.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    return sock


def _parse(now: float, library: str, link: str, data: bytes) -> Sent | None:
    _, kind, _, segment, _, _ = _VNET.unpack_from(data)
    frame = data[_VNET.size :]
    mac, ethertype = frame[:6].hex(":"), frame[12:14]
    packet = frame[14:]
    if ethertype == b"\x08\x00":
        header, protocol = (packet[0] & 15) * 4, packet[9]
        source, length = socket.inet_ntop(socket.AF_INET, packet[12:16]), packet[2:4]
    elif ethertype == b"\x86\xdd":
        header, protocol = 40, packet[6]
        source, length = socket.inet_ntop(socket.AF_INET6, packet[8:24]), packet[4:6]
    else:
        return None
    if protocol not in (6, 17):
        return None
    local, remote = struct.unpack_from("!HH", packet, header)
    size = int.from_bytes(length, "big") + (40 if ethertype == b"\x86\xdd" else 0)
    if kind:
        transport = (packet[header + 12] >> 4) * 4 if protocol == 6 else 8
        size = header + transport + segment
    return Sent(now, library, link, mac, protocol, source, local, remote, size)
