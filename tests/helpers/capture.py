"""What was really on the wire: tcpdump in a namespace, read back as packets.

with capture(pair.peer) as seen:
    ...
assert not [p for p in seen.packets if p.rst]
"""

from __future__ import annotations

import os
import select
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from tests.helpers.netns import Namespace, end

ETHERNET, RAW, LINUX_SLL2 = 1, 101, 276
LINK_HEADER = {ETHERNET: 14, RAW: 0, LINUX_SLL2: 20}
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


@dataclass(frozen=True)
class Packet:
    """One captured packet. Fields of headers that it does not have are None, or 0 for ports."""

    time: float
    frame: bytes
    ethertype: int
    source_mac: bytes = b""
    destination_mac: bytes = b""
    source: IPv4Address | IPv6Address | None = None
    destination: IPv4Address | IPv6Address | None = None
    protocol: int | None = None
    ttl: int | None = None
    source_port: int = 0
    destination_port: int = 0
    flags: int = 0
    icmp_type: int | None = None
    icmp_code: int | None = None
    payload: bytes = b""

    @property
    def syn(self) -> bool:
        """A SYN without ACK."""
        return self.protocol == TCP and self.flags & (SYN | ACK) == SYN

    @property
    def rst(self) -> bool:
        """A RST."""
        return self.protocol == TCP and bool(self.flags & RST)

    @property
    def icmp_error(self) -> bool:
        """An ICMP error of either version."""
        if self.protocol == ICMP:
            return self.icmp_type in (3, 4, 5, 11, 12)
        return self.protocol == ICMPV6 and self.icmp_type is not None and self.icmp_type < 128


class Capture:
    """A capture under way; ``packets`` once it has stopped."""

    def __init__(self, child: subprocess.Popen[bytes], path: Path) -> None:
        self._child, self._path = child, path
        self.packets: list[Packet] = []

    def so_far(self) -> list[Packet]:
        """What has been captured up to now, waiting (2 s at most) until nothing new comes."""
        size, began = -1, time.monotonic()
        quiet_since = began
        while time.monotonic() - quiet_since < 0.05 and time.monotonic() - began < 2:
            now = self._path.stat().st_size
            if now != size:
                size, quiet_since = now, time.monotonic()
            time.sleep(0.01)
        return read_pcap(self._path)

    def wait_for(self, wanted: int, timeout: float = 5) -> list[Packet]:
        """Packets so far, once there are ``wanted``."""
        deadline = time.monotonic() + timeout
        while len(packets := self.so_far()) < wanted:
            assert time.monotonic() < deadline, f"only {len(packets)} of {wanted} packets"
        return packets

    def stop(self) -> None:
        """Stop and read; more than once is once."""
        if self._child.returncode is None:
            self.so_far()
            end(self._child)
            self.packets = read_pcap(self._path)


@contextmanager
def capture(
    space: Namespace, interface: str = "eth0", expression: str = "", *, snaplen: int = 65535
) -> Iterator[Capture]:
    """Capture in a namespace from before the body until after it."""
    with tempfile.TemporaryDirectory(prefix="nk-capture-") as folder:
        path = Path(folder) / "capture.pcap"
        argv = ["tcpdump", "-i", interface, "-n", "-U", "--immediate-mode", "-Z", "root"]
        argv += ["-B", "16384", "-s", str(snaplen), "-w", str(path)]
        child = space.popen([*argv, *expression.split()], stderr=subprocess.PIPE)
        try:
            wait_listening(child)
            running = Capture(child, path)
            yield running
            running.stop()
        finally:
            end(child)


def wait_listening(child: subprocess.Popen[bytes], timeout: float = 10) -> None:
    """tcpdump says so once its socket is bound and its filter set."""
    said, deadline = b"", time.monotonic() + timeout
    assert child.stderr is not None
    while b"listening on" not in said:
        left = deadline - time.monotonic()
        ready = left > 0 and select.select([child.stderr], [], [], left)[0]
        chunk = os.read(child.stderr.fileno(), 4096) if ready else b""
        assert chunk, f"tcpdump does not listen: {said.decode()}"
        said += chunk


def read_pcap(path: Path) -> list[Packet]:
    """Packets of a pcap file; one that is still being written ends early."""
    data = path.read_bytes() if path.exists() else b""
    if len(data) < 24:
        return []
    linktype = struct.unpack_from("=I", data, 20)[0] & 0xFFFF
    packets, offset = [], 24
    while offset + 16 <= len(data):
        seconds, fraction, length, _ = struct.unpack_from("=IIII", data, offset)
        offset += 16
        if offset + length > len(data):
            break
        frame = data[offset : offset + length]
        packets.append(parse(seconds + fraction / 1e6, frame, linktype))
        offset += length
    return packets


def parse(when: float, frame: bytes, linktype: int = ETHERNET) -> Packet:
    """One frame."""
    start = LINK_HEADER[linktype]
    macs: dict[str, bytes] = {}
    if linktype == ETHERNET:
        ethertype = int.from_bytes(frame[12:14], "big")
        macs = {"destination_mac": frame[0:6], "source_mac": frame[6:12]}
        if ethertype == 0x8100:
            ethertype, start = int.from_bytes(frame[16:18], "big"), 18
    elif linktype == LINUX_SLL2:
        ethertype = int.from_bytes(frame[0:2], "big")
    else:
        ethertype = 0x0800 if frame[:1] and frame[0] >> 4 == 4 else 0x86DD
    fields: dict[str, object] = {}
    if ethertype == 0x0800 and len(frame) >= start + 20:
        fields = parse_ipv4(frame[start:])
    elif ethertype == 0x86DD and len(frame) >= start + 40:
        fields = parse_ipv6(frame[start:])
    return Packet(when, frame, ethertype, **macs, **fields)  # type: ignore[arg-type]


def parse_ipv4(packet: bytes) -> dict[str, object]:
    """Header fields by name; a later fragment has no ports."""
    header, total = (packet[0] & 15) * 4, int.from_bytes(packet[2:4], "big")
    fields: dict[str, object] = {
        "source": IPv4Address(packet[12:16]),
        "destination": IPv4Address(packet[16:20]),
        "protocol": packet[9],
        "ttl": packet[8],
    }
    if int.from_bytes(packet[6:8], "big") & 0x1FFF:
        return {**fields, "payload": packet[header:total]}
    return {**fields, **parse_transport(packet[9], packet[header : total or None])}


def parse_ipv6(packet: bytes) -> dict[str, object]:
    """Header fields by name, hop-by-hop, routing and destination options stepped over."""
    protocol, offset = packet[6], 40
    while protocol in (0, 43, 60) and offset + 2 <= len(packet):
        protocol, offset = packet[offset], offset + 8 + packet[offset + 1] * 8
    fields: dict[str, object] = {
        "source": IPv6Address(packet[8:24]),
        "destination": IPv6Address(packet[24:40]),
        "protocol": protocol,
        "ttl": packet[7],
    }
    return {**fields, **parse_transport(protocol, packet[offset:])}


def parse_transport(protocol: int, segment: bytes) -> dict[str, object]:
    """Ports, flags, ICMP type, payload."""
    if protocol in (TCP, UDP) and len(segment) >= 8:
        ports = {
            "source_port": int.from_bytes(segment[0:2], "big"),
            "destination_port": int.from_bytes(segment[2:4], "big"),
        }
        if protocol == UDP:
            return {**ports, "payload": segment[8:]}
        if len(segment) >= 20:
            return {**ports, "flags": segment[13], "payload": segment[(segment[12] >> 4) * 4 :]}
    if protocol in (ICMP, ICMPV6) and len(segment) >= 4:
        return {"icmp_type": segment[0], "icmp_code": segment[1], "payload": segment[4:]}
    return {"payload": segment}
