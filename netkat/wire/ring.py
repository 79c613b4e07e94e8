"""A receive ring shared with the kernel: TPACKET_V3 (linux/if_packet.h, net/packet/af_packet.c).

The kernel fills blocks of many packets and passes each to the reader when it is full or
its timeout expires. So a busy link costs one wake-up a block, and no copy to user space.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import socket
import struct
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

from netkat.errors import (
    InterfaceDown,
    InterfaceGone,
    InterfaceNotFound,
    MissingCapability,
    SetupError,
)
from netkat.system_calls import is_local, system_call, system_error

Instruction = tuple[int, int, int, int]

ANY = ""
"""Name of the pseudo interface: every interface of the namespace, without link headers."""

_SOL_PACKET = 263
_ADD_MEMBERSHIP, _RX_RING, _STATISTICS = 1, 5, 6
_VERSION, _VNET_HDR, _IGNORE_OUTGOING = 10, 15, 23
_TPACKET_V3 = 2
_MR_PROMISC = 1
_SO_ATTACH_FILTER = 26
_ETH_P_ALL = 3

BLOCK = 1 << 18
"""Bytes a block: holds the largest GSO packet (64 KiB, not BIG TCP) several times."""
_FRAME = 1 << 11  # must divide a block; V3 packs packets tighter and only checks it

_BLOCK_HEADER = struct.Struct("=8xIIII8x8xII")
"""tpacket_block_desc: status, packets, offset of the first, length used, and the
last packet's seconds and nanoseconds."""
_STATUS_USER = 1

PACKET_HEADER = struct.Struct("=IIIIIIHH4xIH10x2xHiHBB8s")
"""tpacket3_hdr and the sockaddr_ll behind it: offset of the next, seconds, nanoseconds,
bytes kept, bytes on the wire, status, offset of the data, offset of the network
header, VLAN TCI, VLAN TPID, protocol (network order), interface index, hardware
type, packet type, address length, address."""

VLAN_VALID, VLAN_TPID_VALID = 1 << 4, 1 << 6
OUTGOING = 4  # PACKET_OUTGOING
_VNET_LENGTH = 10
_GSO_SIZE = struct.Struct("=BBHH")  # flags, gso_type, hdr_len, gso_size of struct virtio_net_hdr


class Record(NamedTuple):
    """One frame as the kernel handed it over."""

    time: int
    """Nanoseconds since the epoch, taken when the kernel first saw the frame."""
    length: int
    """Bytes on the wire; ``data`` may hold fewer."""
    data: bytes
    interface: int
    """Its index."""
    outgoing: bool
    packet_type: int
    protocol: int
    """EtherType, host order."""
    hardware: int
    address: bytes
    vlan: tuple[int, int] | None
    """TPID and TCI that the kernel took out of the frame."""
    segment: int
    """Payload bytes of each segment of a GSO or GRO packet; 0 for a plain frame."""


class RingStatistics(NamedTuple):
    """The kernel's counters: frames that passed the filter, and those without room in the ring."""

    received: int
    dropped: int


class Block:
    """A filled block. The memory is the kernel's again after ReceiveRing.release()."""

    __slots__ = ("buffer", "cooked", "count", "first", "last_ns")

    def __init__(
        self, buffer: memoryview, first: int, count: int, cooked: bool, last_ns: int
    ) -> None:
        self.buffer, self.first, self.count, self.cooked = buffer, first, count, cooked
        self.last_ns = last_ns

    @property
    def packets(self) -> memoryview:
        """The block from its first packet's header (struct tpacket3_hdr) on."""
        return self.buffer[self.first :]

    def records(self) -> list[Record]:
        """Copies of all frames in it."""
        buffer, offset, unpack = self.buffer, self.first, PACKET_HEADER.unpack_from
        gso, swap, cooked = _GSO_SIZE.unpack_from, socket.ntohs, self.cooked
        found: list[Record] = []
        for _ in range(self.count):
            (
                following, seconds, nanoseconds, kept, length, status, data, network,
                tci, tpid, protocol, index, hardware, kind, address_length, address,
            ) = unpack(buffer, offset)  # fmt: skip
            at = offset + data
            _, gso_type, _, segment = gso(buffer, at - _VNET_LENGTH)
            if cooked:
                header = network - data
                at, kept, length = at + header, max(kept - header, 0), length - header
            vlan = None
            if status & VLAN_VALID:
                vlan = (tpid if status & VLAN_TPID_VALID else 0x8100, tci)
            found.append(
                Record(
                    seconds * 1_000_000_000 + nanoseconds,
                    length,
                    bytes(buffer[at : at + kept]),
                    index,
                    kind == OUTGOING,
                    kind,
                    swap(protocol),
                    hardware,
                    address[:address_length],
                    vlan,
                    segment if gso_type else 0,
                )
            )
            offset += following
        return found


class ReceiveRing:
    """A packet socket that only listens, on one interface or on all (``ANY``).

    Opened in the calling thread's network namespace. The filter is attached
    before the socket is bound, and a socket of protocol 0 hears nothing until
    then, so no frame that the filter would refuse is ever in the ring.
    """

    def __init__(
        self,
        interface: str,
        program: Sequence[Instruction],
        *,
        cooked: bool = False,
        promiscuous: bool = True,
        size: int = 32 * BLOCK,
        hold_ms: int = 10,
    ) -> None:
        """``cooked`` leaves the link header out of the records, and ``program`` is then one of
        cooked_to_kernel(). ``hold_ms`` bounds how long a frame waits for its block to fill.

        Errors: MissingCapability, InterfaceNotFound, InterfaceDown, SetupError.
        """
        self.interface = interface
        self._cooked = cooked or interface == ANY
        self.hold = hold_ms / 1000
        self._received = self._dropped = self._next = 0
        self._fence = threading.Lock()
        with ExitStack() as undo:
            self._socket = undo.enter_context(open_socket())
            attach_filter(self._socket, program)
            with system_call(f"set up the packet socket on {interface} (setsockopt)"):
                self._socket.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V3)
                self._socket.setsockopt(_SOL_PACKET, _VNET_HDR, 1)
            blocks = max(2, size // BLOCK)
            self._map = undo.enter_context(_ring(self._socket, blocks, hold_ms))
            view = undo.enter_context(memoryview(self._map))
            self._blocks = [
                undo.enter_context(view[n * BLOCK : (n + 1) * BLOCK]) for n in range(blocks)
            ]
            self._bind(promiscuous)
            self._undo = undo.pop_all()

    def _bind(self, promiscuous: bool) -> None:
        try:
            if promiscuous and self.interface != ANY:
                index = socket.if_nametoindex(self.interface)
                request = struct.pack("=iHH8x", index, _MR_PROMISC, 0)
                self._socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, request)
            if self.interface == ANY:
                bind_everywhere(self._socket)
            else:
                self._socket.bind((self.interface, _ETH_P_ALL))
        except OSError as error:
            if error.errno in (errno.ENODEV, errno.ENXIO):
                raise InterfaceNotFound(f"no interface {self.interface}") from None
            if is_local(error):
                operation = f"bind the packet socket to {self.interface} (bind)"
                raise system_error(error, operation) from error
            raise InterfaceDown(f"{self.interface}: {error.strerror}") from None
        # A socket may be bound to an interface that is down; it says so only now.
        with system_call(f"read the state of the packet socket on {self.interface} (getsockopt)"):
            fault = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if fault:
            raise self._fault(fault)

    def fileno(self) -> int:
        """Polls readable while a block waits."""
        return self._socket.fileno()

    def take(self) -> Block | None:
        """The next filled block, or None. Give it back by release() before the next take().

        An interface that went down is captured again when it is up. Errors: InterfaceGone when it
        was deleted.
        """
        block = self._blocks[self._next]
        # Taking a lock is a barrier: on arm64 the packets might else be read
        # from before the status was.
        with self._fence:
            status, count, first, _, seconds, rest = _BLOCK_HEADER.unpack_from(block)
        if not status & _STATUS_USER:
            fault = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if fault and not (fault == errno.ENETDOWN and self._is_bound()):
                raise self._fault(fault)
            return None
        return Block(block, first, count, self._cooked, seconds * 1_000_000_000 + rest)

    def release(self) -> None:
        """Hand the block that take() gave back to the kernel."""
        with self._fence:
            struct.pack_into("=I", self._blocks[self._next], 8, 0)
        self._next = (self._next + 1) % len(self._blocks)

    def stop(self) -> None:
        """Let nothing more in; what is in the ring can still be taken (after ``hold`` seconds)."""
        attach_filter(self._socket, [(6, 0, 0, 0)])

    def set_filter(self, program: Sequence[Instruction]) -> None:
        """Change the filter, from one frame to the next."""
        attach_filter(self._socket, program)

    def statistics(self) -> RingStatistics:
        """Counters since the ring was opened."""
        # The kernel clears them with every read.
        raw = self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 12)
        received, dropped, _ = struct.unpack("=III", raw)
        self._received += received
        self._dropped += dropped
        return RingStatistics(self._received, self._dropped)

    def close(self) -> None:
        """Close. Idempotent."""
        self._undo.close()

    def _is_bound(self) -> bool:
        """Whether the interface still exists: the kernel reports down and deleted alike
        (net/packet/af_packet.c, packet_notifier), but unbinds the socket of a deleted one.
        """
        return bool(self._socket.getsockname()[0])

    def _fault(self, number: int) -> InterfaceDown:
        if number != errno.ENETDOWN:
            return InterfaceDown(
                f"{self.interface}: {os.strerror(number)}", interface=self.interface
            )
        if self._is_bound():
            return InterfaceDown(f"{self.interface} is down", interface=self.interface)
        return InterfaceGone(
            f"{self.interface} was deleted during the capture",
            interface=self.interface,
            hint="list interfaces: ip -br link",
        )


def hardware_type(interface: str) -> int:
    """ARPHRD_* of an interface. Errors: InterfaceNotFound, MissingCapability."""
    with open_socket() as probe:
        try:
            probe.bind((interface, 0))
        except OSError as error:
            if is_local(error):
                operation = f"bind a packet socket to {interface} (bind)"
                raise system_error(error, operation) from error
            raise InterfaceNotFound(
                f"no interface {interface}", hint="list interfaces: netkat sniff -D"
            ) from None
        hardware: int = probe.getsockname()[3]
        return hardware


def open_socket() -> socket.socket:
    """A packet socket that hears nothing until it is bound. Errors: MissingCapability."""
    # SOCK_RAW where the link header is not wanted, too: only that has PACKET_VNET_HDR.
    try:
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise system_error(error, "open a packet socket (socket)") from error
        raise MissingCapability(
            "watching an interface needs CAP_NET_RAW",
            capability="CAP_NET_RAW",
            hint="run as root, or: setcap cap_net_raw+ep on the program",
        ) from None


def bind_everywhere(sock: socket.socket) -> None:
    """Bind to every interface. Errors: OSError."""
    # Python's bind() wants an interface's name; index 0 stands for all of them.
    address = struct.pack("=HHi12x", socket.AF_PACKET, socket.htons(_ETH_P_ALL), 0)
    if ctypes.CDLL(None, use_errno=True).bind(sock.fileno(), address, len(address)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def attach_filter(sock: socket.socket, program: Sequence[Instruction]) -> None:
    """Set the socket's filter, from one frame to the next. Errors: SetupError."""
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    filter_program = struct.pack("HP", len(program), ctypes.addressof(buffer))
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_program)
    except OSError as error:
        if is_local(error):
            raise system_error(error, "attach the capture filter (setsockopt)") from error
        raise SetupError(
            f"the kernel rejected the filter of {len(program)} instructions: {error.strerror}",
            hint="raise net.core.optmem_max, the limit of a filter's size"
            if len(program) > 1000
            else None,
        ) from None


def _ring(sock: socket.socket, blocks: int, hold_ms: int) -> mmap.mmap:
    frames = BLOCK // _FRAME * blocks
    request = struct.pack("=7I", BLOCK, blocks, _FRAME, frames, hold_ms, 0, 0)
    try:
        sock.setsockopt(_SOL_PACKET, _RX_RING, request)
        return mmap.mmap(sock.fileno(), BLOCK * blocks)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and is_local(error) and error.errno != errno.ENOMEM:
            raise system_error(error, "make the receive ring (setsockopt, mmap)") from error
        reason = getattr(error, "strerror", None) or str(error)
        raise SetupError(
            f"no receive ring of {blocks * BLOCK >> 20} MiB: {reason}",
            hint="use a smaller -B (KiB)",
        ) from None


def is_up(interface: str) -> bool:
    """Whether an interface is up (IFF_UP). Errors: OSError when it is gone."""
    request = struct.pack("16sH22x", interface.encode(), 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        answer = fcntl.ioctl(probe, 0x8913, request)  # SIOCGIFFLAGS
    flags: int = struct.unpack_from("H", answer, 16)[0]
    return bool(flags & 1)
