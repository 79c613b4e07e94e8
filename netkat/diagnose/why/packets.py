"""A packet socket that sees what of the probe leaves this host and what arrives."""

from __future__ import annotations

import ctypes
import select
import socket
import struct
import time
from collections import Counter
from ipaddress import ip_address
from typing import NamedTuple

from netkat.bpf.filters.cbpf import AD_PROTOCOL, JEQ, LD_B, LD_H, LD_W, RET, Assembler, Label, pack
from netkat.diagnose.why.evidence import Frames
from netkat.flow import IPAddress
from netkat.host.links import WITH_ETHERNET_HEADER
from netkat.resources import Closeable

_ETH_P_ALL = 3
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_NET = 0xFFF00000
"""SKF_NET_OFF: offsets from the network header, whatever link it came over."""
_QUEUE = 4 << 20
_SNAPSHOT = 256
_OUTGOING = 4
_ICMP, _ICMPV6 = 1, 58
_FLAGS = (("F", 1), ("S", 2), ("R", 4), ("P", 8), ("A", 16))


class Headers(NamedTuple):
    """What a packet's headers say. ``inner``: the packet that an ICMP error quotes."""

    source: str
    destination: str
    ttl: int
    protocol: int
    source_port: int
    destination_port: int
    flags: str
    inner: Headers | None = None


class PacketSocket(Closeable):
    """Packets between this host and ``remote``, those of ``local_port``, and ICMP errors.

    Errors: OSError (EPERM without CAP_NET_RAW).
    """

    def __init__(self, protocol: int, remote: IPAddress, local_port: int) -> None:
        self._protocol, self._remote, self._port = protocol, str(remote), local_port
        # On every interface at once, also on those that come up later. What arrives before the
        # filter is attached is judged again when it is read.
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.htons(_ETH_P_ALL)
        )
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _QUEUE)
            _attach(self._socket, _filter(protocol, remote, local_port))
        except BaseException:
            self._socket.close()
            raise
        self._seen: Counter[Frames] = Counter()

    def fileno(self) -> int:
        """Polls readable while packets wait."""
        return self._socket.fileno()

    def watch(self, until: float) -> None:
        """Read what comes until a time of the monotonic clock."""
        while True:
            left = max(0.0, until - time.monotonic())
            if not select.select([self._socket], [], [], left)[0]:
                return
            self._receive()

    def frames(self) -> tuple[Frames, ...]:
        """What was seen so far, in the order of first sight, equal packets counted."""
        self.watch(0)
        return tuple(_counted(frames, count) for frames, count in self._seen.items())

    def close(self) -> None:
        """Close; idempotent."""
        self._socket.close()

    def _receive(self) -> None:
        data, (interface, _, kind, arphrd, sender) = self._socket.recvfrom(_SNAPSHOT)
        sent = kind == _OUTGOING
        mac = ""
        if arphrd in WITH_ETHERNET_HEADER:
            mac, data = (data[:6] if sent else sender).hex(":"), data[14:]
        headers = parse(data)
        if headers is None or not self._concerns(headers):
            return
        self._seen[
            Frames(
                interface,
                sent,
                mac,
                headers.source,
                headers.source_port,
                headers.destination,
                headers.destination_port,
                headers.flags,
                headers.ttl,
            )
        ] += 1

    def _concerns(self, headers: Headers) -> bool:
        quoted = headers.inner
        if quoted is not None:
            return quoted.destination == self._remote or quoted.source_port == self._port
        if headers.protocol != self._protocol:
            return False
        ends = headers.source, headers.destination
        return self._remote in ends or self._port in (
            headers.source_port,
            headers.destination_port,
        )


def parse(packet: bytes) -> Headers | None:
    """The headers of an IP packet; None where it is none, or a later fragment."""
    if not packet:
        return None
    version = packet[0] >> 4
    if version == 4 and len(packet) >= 20:
        length = (packet[0] & 15) * 4
        if int.from_bytes(packet[6:8], "big") & 0x1FFF:
            return None
        return _transport(packet[12:16], packet[16:20], packet[8], packet[9], packet[length:])
    if version == 6 and len(packet) >= 40:
        return _transport(packet[8:24], packet[24:40], packet[7], packet[6], packet[40:])
    return None


def _transport(
    source: bytes, destination: bytes, ttl: int, protocol: int, data: bytes
) -> Headers | None:
    ends = str(ip_address(source)), str(ip_address(destination))
    if protocol in (_ICMP, _ICMPV6):
        if len(data) < 8:
            return None
        error = data[0] in (3, 11, 12) if protocol == _ICMP else data[0] < 128
        flags = f"icmp {data[0]} {data[1]}"
        return Headers(*ends, ttl, protocol, 0, 0, flags, parse(data[8:]) if error else None)
    if len(data) < 4:
        return None
    source_port, destination_port = struct.unpack_from("!HH", data)
    flags = tcp_flags(data[13]) if protocol == socket.IPPROTO_TCP and len(data) >= 14 else ""
    return Headers(*ends, ttl, protocol, source_port, destination_port, flags)


def tcp_flags(bits: int) -> str:
    """FSRPA, those that are set."""
    return "".join(letter for letter, bit in _FLAGS if bits & bit)


def _counted(frames: Frames, count: int) -> Frames:
    from dataclasses import replace

    return replace(frames, count=count)


def _filter(protocol: int, remote: IPAddress, local_port: int) -> bytes:
    program = Assembler()
    yes, no = Label(), Label()
    if remote.version == 4:
        ether_type, next_header, icmp, source, ports = 0x0800, 9, _ICMP, 12, 20
    else:
        ether_type, next_header, icmp, source, ports = 0x86DD, 6, _ICMPV6, 8, 40
    words = struct.unpack(f"!{len(remote.packed) // 4}I", remote.packed)
    program.add(LD_H, AD_PROTOCOL)
    program.jump(JEQ, ether_type, None, no)
    program.add(LD_B, _NET + next_header)
    program.jump(JEQ, icmp, yes)
    program.jump(JEQ, protocol, None, no)
    for start in (source, source + len(remote.packed)):
        other = Label()
        for index, word in enumerate(words):
            program.add(LD_W, _NET + start + 4 * index)
            program.jump(JEQ, word, None, other)
        program.go(yes)
        program.place(other)
    # Options are rare enough before a TCP or UDP header to leave them out here.
    for offset in (ports, ports + 2):
        program.add(LD_H, _NET + offset)
        program.jump(JEQ, local_port, yes)
    program.place(no)
    program.add(RET, 0)
    program.place(yes)
    program.add(RET, _SNAPSHOT)
    return pack(program.assemble())


def _attach(packet_socket: socket.socket, program: bytes) -> None:
    held = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("HP", len(program) // 8, ctypes.addressof(held))
    packet_socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)
