"""A connection whose peer is the test, by a path of its own."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from netkat.flow import Flow, IPAddress, Protocol
from netkat.stack import Endpoint, StackPath
from tests.stack.frames import ACK, SYN, Alone, from_peer, segment
from tests.stack.neighbors import answer, question
from tests.stack.network import opened

FIRST, SECOND = bytes.fromhex("02000000aa01"), bytes.fromhex("02000000aa02")
FAR: dict[int, IPAddress] = {4: ip_address("203.0.113.9"), 6: ip_address("2001:db8::9")}
ROUTERS: dict[int, tuple[IPAddress, IPAddress]] = {
    4: (ip_address("10.9.0.251"), ip_address("10.9.0.252")),
    6: (ip_address("fd00:9::251"), ip_address("fd00:9::252")),
}


class Dialled:
    """An open connection of ``alone`` by a path, whose peer is the test. A context manager."""

    def __init__(self, alone: Alone, flow: Flow, path: StackPath | None) -> None:
        self.alone, self.flow = alone, flow
        self.endpoint: Endpoint = alone.stack.connect(flow, path)
        self.syn = self.take()
        self.number = struct.unpack("!I", self._tcp(self.syn)[4:8])[0] + 1
        self.peer_number = 1000
        self._put(SYN | ACK, self.peer_number - 1)
        opened(self.endpoint)
        assert self.take()[:6] == self.syn[:6], "the final ACK"

    def take(self) -> bytes:
        """The next frame that is not a question; routers are asked and answer at FIRST."""
        while True:
            frame = self.alone.sent()
            asked = question(frame)
            if asked is None:
                return frame
            answer(self.alone, asked, FIRST)

    def send(self, data: bytes = b"data") -> bytes:
        """Send some bytes: the frame that carried them."""
        self.endpoint.send(data)
        frame = self.take()
        self.acknowledge(len(data))
        return frame

    def send_in_pieces(self, data: bytes) -> int:
        """Send what takes several frames: the largest IP packet, once one has the first byte."""
        self.endpoint.send(data)
        sizes = []
        while True:
            frame = self.take()
            sizes.append(len(frame) - 14)
            if struct.unpack("!I", self._tcp(frame)[4:8])[0] == self.number:
                return max(sizes)

    def acknowledge(self, count: int) -> None:
        """Acknowledge what the endpoint has sent."""
        self.number += count
        self._put(ACK, self.peer_number)

    def _put(self, flags: int, number: int) -> None:
        raw = segment(self.flow, flags, number, self.number)
        self.alone.put(from_peer(self.flow, raw))

    def _tcp(self, frame: bytes) -> bytes:
        return frame[14 + (20 if self.flow.version == 4 else 40) :]

    def mss(self) -> int:
        """The MSS option of the SYN."""
        assert self._tcp(self.syn)[20:22] == b"\x02\x04"
        return int(struct.unpack("!H", self._tcp(self.syn)[22:24])[0])

    def close(self) -> None:
        self.endpoint.abort()
        self.endpoint.close()

    def __enter__(self) -> Dialled:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def far_flow(alone: Alone, version: int, port: int = 40000) -> Flow:
    return Flow(Protocol.TCP, alone.host.addresses[version], port, FAR[version], 80)
