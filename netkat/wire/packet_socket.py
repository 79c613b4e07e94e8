"""The packet socket: whole frames to and from one interface, past netfilter and the routes.

AF_PACKET taps see a frame before tc, netfilter and the routing code do, and what
is sent here skips netfilter's OUTPUT and POSTROUTING (packet(7),
net/packet/af_packet.c). tc and nft egress hooks still see it.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from netkat.errors import (
    InterfaceDown,
    InterfaceGone,
    InterfaceNotFound,
    MissingCapability,
    NetkatError,
)
from netkat.system_calls import is_local, system_call, system_error
from netkat.wire import if_packet
from netkat.wire.libc import ffi
from netkat.wire.wire import WireStatistics

if TYPE_CHECKING:
    from netkat.wire.batch import ReceiveBatch, SendBatch

RECEIVE_BUFFER = 32 << 20
"""Bytes. A sender with a window of 8 MiB may fill that while the receiving thread waits for
its turn; the kernel counts a frame with its overhead, up to twice its size."""

SEND_BUFFER = 4 << 20
"""Bytes: a batch of 64 GSO packets. More would only queue up behind the device."""

TALLY = 256
"""Entries of a tally; gostack.h's GS_TALLY."""

STUCK = 1.0
"""Seconds that a frame waits for room in the send buffer. A device that completes nothing
for so long is stuck, and waiting on would keep close() and signals waiting too."""

BLOCK_ALL: list[if_packet.Instruction] = [(0x06, 0, 0, 0)]  # ret 0
_GONE = frozenset({errno.ENODEV, errno.ENXIO})
"""Errors of a send after the interface was deleted."""
_CLOSED = frozenset({errno.EBADF, errno.ENOTSOCK})


class PacketSocket:
    """A Wire on one interface of the calling thread's network namespace.

    On a link with ``ethernet`` False the frame is the bare packet.
    ``qdisc_bypass`` goes around tc egress, and hides what is sent from the
    host's own captures.

    Errors: MissingCapability, InterfaceNotFound, InterfaceDown.
    """

    def __init__(
        self,
        interface: str,
        index: int,
        *,
        ethernet: bool,
        filter: Sequence[if_packet.Instruction],  # noqa: A002, the word for it everywhere
        qdisc_bypass: bool = False,
    ) -> None:
        self.interface, self.index, self.ethernet = interface, index, ethernet
        self._lock = threading.Lock()
        self.promiscuous = False
        """Whether frames for every MAC are received."""
        self._received = self._dropped = 0
        self.tally = ffi.new("uint64_t[]", TALLY)
        """Frames sent, [e] refused with errno e, [-1] unreadable: the stack counts here, too."""
        with ExitStack() as undo:
            self._socket = undo.enter_context(_open(interface))
            self._program = BLOCK_ALL
            with system_call(f"set up the packet socket on {interface} (setsockopt)"):
                self._attach(BLOCK_ALL)
                self._set_options(qdisc_bypass)
            self._bind()
            self._drain()
            with system_call(f"set the filter of the packet socket on {interface} (setsockopt)"):
                self.set_filter(filter)
            undo.pop_all()
        self._writable = select.poll()
        self._writable.register(self._socket, select.POLLOUT)

    def fileno(self) -> int:
        """Polls readable while frames wait, or the interface went down; -1 once closed."""
        return self._socket.fileno()

    def set_filter(self, instructions: Sequence[if_packet.Instruction]) -> None:
        """Change the filter, from one frame to the next.

        Errors: NetkatError when the kernel has no room for it.
        """
        program = list(instructions)
        try:
            self._attach(program)
        except OSError as error:
            if error.errno != errno.ENOMEM:
                raise
            self._attach_alone(program)
        self._program = program

    def set_program(self, descriptor: int) -> None:
        """Attach an eBPF program of type socket filter in place of the filter.

        Errors: NetkatError.
        """
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, if_packet.SO_ATTACH_BPF, descriptor)
        except OSError as error:
            raise self.fault(error) from None

    def join(self, group: bytes) -> None:
        """Have the interface take in frames for a multicast MAC, until close()."""
        self._member(if_packet.PACKET_MR_MULTICAST, group)

    def be_promiscuous(self) -> None:
        """Have the interface take in frames for every MAC, until close()."""
        self._member(if_packet.PACKET_MR_PROMISC, b"")
        self.promiscuous = True

    def _member(self, kind: int, address: bytes) -> None:
        request = if_packet.PACKET_MREQ.pack(self.index, kind, len(address), address)
        try:
            self._socket.setsockopt(if_packet.SOL_PACKET, if_packet.PACKET_ADD_MEMBERSHIP, request)
        except OSError as error:
            raise self.fault(error) from None

    def receive(self, batch: ReceiveBatch) -> int:
        """Fill the batch with the frames that wait, without waiting; 0 if none.

        Errors: InterfaceGone.
        """
        while True:
            try:
                return batch.receive(self._socket.fileno())
            except OSError as error:
                # A frame that struct virtio_net_hdr has no words for (SCTP or tunnel
                # GSO) is taken off the queue and reported so: packet_rcv_vnet().
                if error.errno == errno.EINVAL:
                    self.tally[TALLY - 1] += 1
                # The kernel reports once that the interface went down (packet_notifier); the
                # socket works again when it is up.
                elif error.errno != errno.ENETDOWN:
                    raise self.fault(error) from None

    def send(self, batch: SendBatch, count: int) -> None:
        """Send the first ``count`` frames, in order; waits while the socket's buffer is full.

        Errors: InterfaceGone.
        """
        first = 0
        while first < count:
            try:
                taken = batch.send(self._socket.fileno(), first, count)
                self.tally[0] += taken
                first += taken
            except OSError as error:
                if error.errno == errno.EAGAIN and self._writable.poll(STUCK * 1000):
                    continue
                self._refuse(error)
                first += 1

    def refused(self, number: int) -> int:
        """Frames so far that the kernel would not send for this errno."""
        return int(self.tally[number])

    def statistics(self) -> WireStatistics:
        """The counters so far."""
        with self._lock:
            if self._socket.fileno() >= 0:
                # The kernel clears them with every read.
                raw = self._socket.getsockopt(
                    if_packet.SOL_PACKET, if_packet.PACKET_STATISTICS, if_packet.TPACKET_STATS.size
                )
                received, without_room = if_packet.TPACKET_STATS.unpack(raw)
                self._received += received
                self._dropped += without_room
            dropped = self._dropped + self.tally[TALLY - 1]
            counts = memoryview(ffi.buffer(self.tally, 8 * TALLY)).cast("Q").tolist()
            refused = {e: n for e, n in enumerate(counts[1:-1], 1) if n}
            return WireStatistics(self._received, dropped, self.tally[0], refused)

    def close(self) -> None:
        """Close. Idempotent; the counters stay."""
        if self._socket.fileno() >= 0:
            try:
                self.statistics()
            except OSError as error:
                if not is_local(error):
                    raise
            finally:
                self._socket.close()

    def _set_options(self, qdisc_bypass: bool) -> None:
        sock = self._socket
        sock.setsockopt(if_packet.SOL_PACKET, if_packet.PACKET_VNET_HDR, 1)
        try:
            sock.setsockopt(if_packet.SOL_PACKET, if_packet.PACKET_IGNORE_OUTGOING, 1)
        except OSError as error:
            # Before Linux 4.20: the filter refuses them one by one.
            if error.errno != errno.ENOPROTOOPT:
                raise
        _buffer(sock, if_packet.SO_RCVBUFFORCE, socket.SO_RCVBUF, RECEIVE_BUFFER)
        _buffer(sock, if_packet.SO_SNDBUFFORCE, socket.SO_SNDBUF, SEND_BUFFER)
        if qdisc_bypass:
            sock.setsockopt(if_packet.SOL_PACKET, if_packet.PACKET_QDISC_BYPASS, 1)

    def _bind(self) -> None:
        try:
            # Python binds by name; the index is what the caller means by it.
            name = socket.if_indextoname(self.index)
            self._socket.bind((name, if_packet.ETH_P_ALL))
        except OSError as error:
            if is_local(error):
                operation = f"bind the packet socket to {self.interface} (bind)"
                raise system_error(error, operation) from error
            raise InterfaceNotFound(
                f"no interface {self.interface} (index {self.index})", interface=self.interface
            ) from None
        # Binding to an interface that is down succeeds; SO_ERROR reports it.
        with system_call(f"read the state of the packet socket on {self.interface} (getsockopt)"):
            state = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if state:
            raise InterfaceDown(
                f"{self.interface} is down",
                interface=self.interface,
                hint=_set_up(self.interface),
            )

    def _drain(self) -> None:
        """Discard frames that arrived before the filter: none, if the filter is set first."""
        while True:
            try:
                self._socket.recv(1)
            except BlockingIOError:
                return
            except OSError as error:
                raise self.fault(error) from None

    def _attach(self, program: Sequence[if_packet.Instruction]) -> None:
        value, alive = if_packet.sock_fprog(program)
        self._socket.setsockopt(socket.SOL_SOCKET, if_packet.SO_ATTACH_FILTER, value)
        del alive

    def _attach_alone(self, program: Sequence[if_packet.Instruction]) -> None:
        """Attach with no other filter beside it.

        While filters change, both count against net.core.optmem_max, which was
        20 KiB before Linux 6.9. What comes in between is lost, and sent again.
        """
        self._attach(BLOCK_ALL)
        try:
            self._attach(program)
        except OSError:
            self._attach(self._program)
            raise NetkatError(
                f"the filter for this many flows ({len(program)} instructions) is larger than"
                " net.core.optmem_max allows",
                hint="raise the limit: sysctl -w net.core.optmem_max=131072",
            ) from None

    def _refuse(self, error: OSError) -> None:
        """Count a frame that the kernel would not send. Errors: when no other would go either."""
        number = error.errno or 0
        if number in _GONE or number in _CLOSED:
            raise self.fault(error) from None
        self.tally[number] += 1

    def fault(self, error: OSError) -> NetkatError:
        """What a failure of the socket means."""
        if error.errno in _CLOSED:
            return NetkatError(f"the packet socket on {self.interface} is closed")
        if error.errno not in _GONE:
            sent = self.tally[error.errno or 0] > 0
            operation = "send (sendmmsg)" if sent else "receive (recvmmsg)"
            return system_error(error, f"{operation} on {self.interface}")
        return self.gone()

    def gone(self) -> InterfaceGone:
        """Return the error of an interface that was deleted."""
        return InterfaceGone(
            f"{self.interface} was deleted while it was in use", interface=self.interface
        )


def _open(interface: str) -> socket.socket:
    # With protocol 0 nothing is received until bind(): no frame gets in before the filter.
    try:
        return socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0
        )
    except OSError as error:
        if error.errno != errno.EPERM:
            raise system_error(error, f"open a packet socket on {interface} (socket)") from error
        raise MissingCapability(
            f"opening a packet socket on {interface} requires CAP_NET_RAW",
            capability="CAP_NET_RAW",
            hint=_with_sudo(),
        ) from None


def _set_up(interface: str) -> str:
    from shlex import quote

    return f"set it up: ip link set {quote(interface)} up"


def _with_sudo() -> str:
    """Return this command line with sudo and the program's full path (sudo has its own PATH)."""
    import shlex

    words = sys.orig_argv[1:]
    if words and os.access(words[0], os.X_OK):
        return shlex.join(["sudo", os.path.abspath(words[0]), *words[1:]])
    return shlex.join(["sudo", sys.executable, *words])


def _buffer(sock: socket.socket, force: int, plain: int, size: int) -> None:
    """Past net.core.rmem_max or wmem_max where CAP_NET_ADMIN allows it, else up to it."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, force, size)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, plain, size)
