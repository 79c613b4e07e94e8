"""Frames made by hand, for what no stack would send; and a stack alone with them."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

from netkat.flow import Flow, IPAddress, Protocol
from netkat.stack import Stack
from netkat.wire.memory import PERFECT, MemoryWire, memory_pair
from tests.stack.network import Host, Pump, eventually

UNVOUCHED = bytes(10)
"""A virtio-net header by which nobody has looked at the checksums."""
NEEDS_CHECKSUM = b"\x01" + bytes(9)
PEER_MAC = bytes.fromhex("02000000ee02")
ARP, IP4, IP6 = 0x0806, 0x0800, 0x86DD
TCP, UDP, ICMP4, ICMP6 = 6, 17, 1, 58
SYN, RST, ACK = 2, 4, 16


class Alone:
    """A stack whose peer is the test: ``wire`` is the test's end. A context manager.

    ``peer`` is on-link at PEER_MAC; ``silent`` is on-link too, and its MAC is not known.
    """

    def __init__(self, mtu: int = 1500) -> None:
        one, self.wire = memory_pair(mtu, PERFECT)
        self.host = Host(1, one, mtu, gso=False, ethernet=True)
        self.peer: dict[int, IPAddress] = {4: ip_address("10.9.0.2"), 6: ip_address("fd00:9::2")}
        self.silent: dict[int, IPAddress] = {4: ip_address("10.9.0.3"), 6: ip_address("fd00:9::3")}
        for address in self.peer.values():
            self.stack.add_route(address)
            self.stack.add_neighbor(address, PEER_MAC)
        for address in self.silent.values():
            self.stack.add_route(address)
        self._pump = Pump([self.host])

    @property
    def stack(self) -> Stack:
        return self.host.stack

    def flow(self, version: int = 4, protocol: int = TCP, remote: IPAddress | None = None) -> Flow:
        """From port 40000 to the peer's port 80."""
        local = self.host.addresses[version]
        return Flow(Protocol(protocol), local, 40000, remote or self.peer[version], 80)

    def sent(self) -> bytes:
        """The next frame that the stack sends, without its virtio-net header."""
        return take(self.wire)

    def put(self, packet: bytes, *, vnet: bytes = UNVOUCHED, source: bytes = PEER_MAC) -> None:
        """Have a packet arrive, and taken."""
        before = self.stack.statistics().frames_in
        self.wire.put(vnet + ethernet(self.host.mac, source, packet))
        self.taken(before)

    def taken(self, before: int) -> None:
        """Wait until the stack has received more frames than ``before``."""
        assert eventually(lambda: self.stack.statistics().frames_in > before)

    def silence(self) -> bool:
        """Whether nothing waits on the wire."""
        return self.wire.take() is None

    def __enter__(self) -> Alone:
        return self

    def __exit__(self, *_: object) -> None:
        self._pump.close()
        self.host.close()
        self.wire.close()


def take(wire: MemoryWire, seconds: float = 5.0) -> bytes:
    found: list[bytes] = []

    def there() -> bool:
        whole = wire.take()
        if whole is not None:
            found.append(whole[10:])
        return bool(found)

    assert eventually(there, seconds), "the stack sent nothing"
    return found[0]


def ethernet(to: bytes, source: bytes, packet: bytes, kind: int | None = None) -> bytes:
    if kind is None:
        kind = IP4 if packet[0] >> 4 == 4 else IP6
    return to + source + struct.pack("!H", kind) + packet


def ip(source: IPAddress, destination: IPAddress, protocol: int, payload: bytes, ttl: int) -> bytes:
    if isinstance(source, IPv6Address):
        start = struct.pack("!IHBB", 6 << 28, len(payload), protocol, ttl)
        return start + source.packed + destination.packed + payload
    start = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(payload), 1, 0, ttl, protocol)
    ends = source.packed + destination.packed
    return start + checksum(start + b"\0\0" + ends) + ends + payload


def transport(source: IPAddress, destination: IPAddress, protocol: int, raw: bytes) -> bytes:
    """A segment, datagram or ICMP message with its checksum filled in."""
    at = {TCP: 16, UDP: 6, ICMP4: 2, ICMP6: 2}[protocol]
    pseudo = source.packed + destination.packed + struct.pack("!IHH", len(raw), 0, protocol)
    whole = raw if protocol == ICMP4 else pseudo + raw
    return raw[:at] + checksum(whole) + raw[at + 2 :]


def segment(
    flow: Flow,
    flags: int,
    number: int,
    acked: int,
    payload: bytes = b"",
    *,
    options: bytes = b"",
    window: int = 65535,
) -> bytes:
    """A segment from the flow's peer to us; one with SYN says that it takes 1460 bytes."""
    assert flow.remote is not None
    options = struct.pack("!BBH", 2, 4, 1460) + options if flags & SYN else options
    offset = (20 + len(options)) // 4 << 12
    ports = struct.pack("!HH", flow.remote_port, flow.local_port)
    raw = ports + struct.pack("!IIHHHH", number, acked, offset | flags, window, 0, 0)
    return transport(flow.remote, flow.local, TCP, raw + options + payload)


def from_peer(flow: Flow, payload: bytes, *, protocol: int = TCP, ttl: int = 64) -> bytes:
    """An IP packet from the flow's peer to us."""
    assert flow.remote is not None
    return ip(flow.remote, flow.local, protocol, payload, ttl)


def icmp(
    sender: IPAddress, to: IPAddress, kind: int, code: int, quoted: bytes, *, word: int = 0
) -> bytes:
    """An ICMP error from anybody; ``word`` is the second half of its header, as the MTU."""
    protocol = ICMP4 if isinstance(sender, IPv4Address) else ICMP6
    raw = struct.pack("!BBHI", kind, code, 0, word) + quoted[:548]
    return ip(sender, to, protocol, transport(sender, to, protocol, raw), 61)


def checksum(data: bytes) -> bytes:
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", total ^ 0xFFFF)
