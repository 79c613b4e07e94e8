"""What guard tests need: a wire that says what the kernel answered, and programs of others."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address

from netkat.bpf import tc
from netkat.bpf.bpf_syscall import HashMap
from netkat.bpf.guard.modes import GuardLink
from netkat.bpf.program import LoadedProgram
from netkat.flow import Flow, IPAddress, Protocol
from netkat.netlink import Netlink, attribute, nested
from tests.helpers.guard_packets import ICMP, ICMPV6, TCP, packet
from tests.helpers.netns import Namespace, Pair

LOCAL_PORT, REMOTE_PORT = 40000, 80
MARKER_PORT = 9
NEXT, PASS, DROP = -1, 0, 2


class Answer:
    """A packet that the kernel under test sent."""

    def __init__(self, packed: bytes) -> None:
        self.packed = packed
        self.version = packed[0] >> 4
        at, self.protocol = (
            ((packed[0] & 15) * 4, packed[9]) if self.version == 4 else (40, packed[6])
        )
        self.data = packed[at:]

    def __repr__(self) -> str:
        return f"<Answer {self.packed.hex()}>"

    @property
    def is_reset(self) -> bool:
        return self.protocol == TCP and bool(self.data[13] & 4)

    @property
    def is_error(self) -> bool:
        if self.protocol == ICMP:
            return self.data[0] in (3, 4, 11, 12)
        return self.protocol == ICMPV6 and self.data[0] < 128

    @property
    def local_port(self) -> int:
        """The port that answered, also where it is quoted in an ICMP error."""
        if self.is_reset:
            return int(struct.unpack("!H", self.data[:2])[0])
        at = 8 + ((self.data[8] & 15) * 4 if self.version == 4 else 40)
        return int(struct.unpack("!H", self.data[at + 2 : at + 4])[0])


class Wire:
    """One end of a link whose other end is the kernel under test."""

    link: GuardLink
    local: dict[int, IPAddress]
    remote: dict[int, IPAddress]

    def flow(self, protocol: Protocol = Protocol.TCP, version: int = 4, shift: int = 0) -> Flow:
        """A flow over this wire; another ``shift``, another local port."""
        return Flow(
            protocol, self.local[version], LOCAL_PORT + shift, self.remote[version], REMOTE_PORT
        )

    def send(self, packed: bytes) -> None:
        """An IP packet to the kernel."""
        raise NotImplementedError

    def received(self) -> Iterator[bytes]:
        """IP packets from the kernel, as long as any come within two seconds."""
        raise NotImplementedError

    def answers(self, *packets: bytes) -> list[Answer]:
        """Send packets; the RST and ICMP errors that the kernel sent for them.

        A last segment to a closed port marks the end by its RST. The link keeps order as
        long as one CPU sends: the other end takes packets from a queue of that CPU.
        """
        with one_cpu():
            for packed in packets:
                self.send(packed)
            self.send(packet(Flow(Protocol.TCP, self.local[4], MARKER_PORT, self.remote[4], 1)))
        seen: list[Answer] = []
        for packed in self.received():
            answer = Answer(packed)
            if not (answer.is_reset or answer.is_error):
                continue
            if answer.is_reset and answer.local_port == MARKER_PORT:
                return seen
            seen.append(answer)
        raise AssertionError("the marker was not answered: is the wire up?")

    def answered_ports(self, *packets: bytes) -> list[int]:
        """The local ports for which the kernel answered."""
        return [answer.local_port for answer in self.answers(*packets)]


class Veth(Wire):
    """Frames sent and seen at the peer's end of a veth pair."""

    def __init__(self, pair: Pair) -> None:
        self._host, self._peer = pair.host, pair.peer
        index = pair.host.call(lambda: socket.if_nametoindex(pair.host.interface))
        self.link = GuardLink(pair.host.interface, index, True)
        self.local = {4: ip_address(pair.host.ipv4), 6: ip_address(pair.host.ipv6)}
        self.remote = {4: ip_address(pair.peer.ipv4), 6: ip_address(pair.peer.ipv6)}
        self.socket = pair.peer.call(lambda: packet_socket(pair.peer.interface))
        quiet(pair)

    def frame(self, packed: bytes, *, vlan: int | None = None) -> bytes:
        """The packet in a frame to the kernel under test, with an 802.1Q tag if asked for."""
        kind = 0x0800 if packed[0] >> 4 == 4 else 0x86DD
        tag = b"" if vlan is None else struct.pack("!HH", 0x8100, vlan)
        macs = (bytes.fromhex(side.mac.replace(":", "")) for side in (self._host, self._peer))
        return b"".join(macs) + tag + struct.pack("!H", kind) + packed

    def send(self, packed: bytes) -> None:
        self.socket.send(self.frame(packed))

    def received(self) -> Iterator[bytes]:
        while select.select([self.socket], [], [], 2)[0]:
            frame, address = self.socket.recvfrom(1 << 16)
            if address[2] != socket.PACKET_OUTGOING and address[1] in (0x0800, 0x86DD):
                yield frame[14:]

    def close(self) -> None:
        self.socket.close()


@contextmanager
def one_cpu() -> Iterator[None]:
    """This thread stays on one CPU, always the same."""
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cpus)


def packet_socket(interface: str) -> socket.socket:
    """Sees and sends whole frames."""
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    made.bind((interface, 3))
    return made


def quiet(pair: Pair) -> None:
    """No rate limit on ICMP errors, and neighbours known: every answer comes, and at once."""
    for name in ("net.ipv4.icmp_ratelimit", "net.ipv6.icmp.ratelimit"):
        pair.host.sysctl(name, 0)
    for name in ("net.ipv4.icmp_msgs_per_sec", "net.ipv4.icmp_msgs_burst"):
        pair.host.sysctl(name, 1000000)
    for side, other in ((pair.host, pair.peer), (pair.peer, pair.host)):
        side.ip(
            *(
                f"neigh replace {address} lladdr {other.mac} nud permanent dev {side.interface}"
                for address in (other.ipv4, other.ipv6)
            )
        )


class Tun(Wire):
    """A header-less link: packets written to its descriptor arrive at the kernel under test."""

    def __init__(self, space: Namespace, name: str = "tun0", net: int = 77) -> None:
        self.local = {4: ip_address(f"10.{net}.0.1"), 6: ip_address(f"fd{net}::1")}
        self.remote = {4: ip_address(f"10.{net}.0.2"), 6: ip_address(f"fd{net}::2")}
        self.fd = space.call(lambda: open_tun(name))
        space.ip(
            f"addr add {self.local[4]}/24 dev {name}",
            f"addr add {self.local[6]}/64 dev {name} nodad",
            f"link set {name} up",
        )
        index = space.call(lambda: socket.if_nametoindex(name))
        self.link = GuardLink(name, index, False)

    def send(self, packed: bytes) -> None:
        kind = 0x0800 if packed[0] >> 4 == 4 else 0x86DD
        self.write(kind, packed)

    def write(self, ethertype: int, packed: bytes) -> None:
        """With an EtherType of one's own, whatever the packet says."""
        os.write(self.fd, struct.pack("!HH", 0, ethertype) + packed)

    def received(self) -> Iterator[bytes]:
        while select.select([self.fd], [], [], 2)[0]:
            yield os.read(self.fd, 1 << 16)[4:]

    def close(self) -> None:
        os.close(self.fd)


def open_tun(name: str) -> int:
    """A tun device with packet information (flags, EtherType) before each packet."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    tunsetiff, iff_tun = 0x400454CA, 0x0001
    fcntl.ioctl(fd, tunsetiff, struct.pack("16sH22x", name.encode(), iff_tun))
    return fd


class Witness:
    """Another's program: counts the packets that it sees, and gives the same verdict to each."""

    def __init__(self, verdict: int = NEXT, name: str = "witness") -> None:
        self._counts = HashMap("witness", 4, 8, 1)
        self._counts.insert(bytes(4), bytes(8))
        self.program = LoadedProgram(name, counting(self._counts.fd, verdict), "Apache-2.0")

    @property
    def count(self) -> int:
        value = self._counts.lookup(bytes(4))
        assert value is not None
        return int.from_bytes(value, "little")

    def close(self) -> None:
        self.program.close()
        self._counts.close()


def counting(map_fd: int, verdict: int) -> bytes:
    """Instructions: flows[0] += 1; return verdict."""
    lines = [
        (0x62, 10, 0, -4, 0),  # *(u32 *)(r10 - 4) = 0
        (0xBF, 2, 10, 0, 0),
        (0x07, 2, 0, 0, -4),
        (0x18, 1, 1, 0, map_fd),
        (0x00, 0, 0, 0, 0),
        (0x85, 0, 0, 0, 1),  # map_lookup_elem
        (0x15, 0, 0, 2, 0),
        (0xB7, 1, 0, 0, 1),
        (0xDB, 0, 1, 0, 0),  # lock *(u64 *)r0 += r1
        (0xB7, 0, 0, 0, verdict),
        (0x95, 0, 0, 0, 0),
    ]
    return b"".join(
        struct.pack("<BBhi", code, source << 4 | target, offset, immediate)
        for code, target, source, offset, immediate in lines
    )


@contextmanager
def witness(verdict: int = NEXT, name: str = "witness") -> Iterator[Witness]:
    """A witness, not attached yet."""
    made = Witness(verdict, name)
    try:
        yield made
    finally:
        made.close()


def add_filter(index: int, program_fd: int, *, pref: int, handle: int = 1) -> None:
    """Another's direct-action filter at ingress, in this thread's namespace; clsact as well."""
    with Netlink() as netlink:
        tc.add_clsact(netlink, index)
        options = nested(
            2,
            attribute(6, struct.pack("=I", program_fd)),
            attribute(7, b"theirs\0"),
            attribute(8, struct.pack("=I", 1)),
        )
        body = struct.pack("=BxxxiIII", 0, index, handle, 0xFFFFFFF2, pref << 16 | socket.htons(3))
        netlink.ask(44, 0x600, body + attribute(1, b"bpf\0") + options)


def state(space: Namespace, index: int) -> tuple[str | None, list[str]]:
    """The kind of the interface's ingress qdisc and the filters on it, in words."""

    def look() -> tuple[str | None, list[str]]:
        with Netlink() as netlink:
            found = tc.qdisc(netlink, index)
            if found is None:
                return None, []
            return found.kind, [str(each) for each in tc.filters(netlink, index)]

    return space.call(look)


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Wait until a call is true."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


@contextmanager
def veth(pair: Pair) -> Iterator[Veth]:
    """The wire of a pair."""
    wire = Veth(pair)
    with ExitStack() as undo:
        undo.callback(wire.close)
        yield wire
