"""An eBPF program on the tracepoint skb:kfree_skb: which packet the kernel dropped, and why.

A raw tracepoint, so neither kprobes nor tracefs are needed; offsets come from
the kernel's own type information. Written as instructions here, since it
depends on nothing but a dozen offsets that are known only when it runs.

The two helpers that read kernel memory are kept for programs under the GPL.
This file's program may be used under Apache-2.0, BSD-2-Clause or GPL-2.0, at
your choice, and says so to the kernel in the kernel's own words.
"""

from __future__ import annotations

import errno
import mmap
import struct
from contextlib import ExitStack
from typing import NamedTuple

from netkat.bpf.btf import KernelTypes
from netkat.bpf.ring_buffer import RingBuffer
from netkat.bpf.sys import Command, Descriptor, address, bpf
from netkat.errors import KernelTooOld, MissingCapability, SetupError

LICENSE = b"Dual BSD/GPL\0"
SNAPSHOT = 256
"""Bytes of a dropped packet, from its network header on."""

_RING = 1 << 20
_RAW_TRACEPOINT = 17
_EVENT = struct.Struct("=QQIIHHHHIIII")
_SIZE = _EVENT.size + SNAPSHOT
_NOT_SET = 0xFFFF
"""skb->network_header before anybody has set it."""

# bpf_helpers.h numbers.
_KTIME, _PROBE_READ_KERNEL, _RESERVE, _SUBMIT = 5, 113, 131, 132


class Drop(NamedTuple):
    """One packet that the kernel threw away."""

    monotonic: int
    """Nanoseconds of CLOCK_MONOTONIC."""
    location: int
    """Address of the code that gave it up."""
    reason: int
    length: int
    """skb->len: from where the packet was being read, so headers may be missing from it."""
    protocol: int
    """EtherType, network order as in the skb."""
    interface: int
    netns: int
    """Inode of its network namespace; 0 where it could not be told."""
    data: bytes


class DropWatch:
    """The program while it is attached. close() is idempotent; its end ends it too.

    Errors: KernelTooOld (5.17 gave drops a reason), MissingCapability, SetupError.
    """

    def __init__(self) -> None:
        types = KernelTypes(("sk_buff", "net_device", "net", "sock"), ("skb_drop_reason",))
        self.reasons = types.enums.get("skb_drop_reason", {})
        if not self.reasons:
            raise KernelTooOld(
                "this kernel gives no reasons for drops", feature="skb drop reasons", needs="5.17"
            )
        with ExitStack() as undo:
            try:
                self._ring = RingBuffer("netkat_drops", _RING)
                undo.callback(self._ring.close)
                self._lost = _Counter()
                undo.callback(self._lost.close)
                program = _load(_assemble(types, self._ring.fd, self._lost.fd))
                undo.callback(program.close)
                link = _attach(program.fd)
                undo.callback(link.close)
            except OSError as error:
                raise _explain(error) from None
            self._undo = undo.pop_all()

    def fileno(self) -> int:
        """Polls readable while drops wait."""
        return self._ring.fd

    def take(self) -> list[Drop]:
        """The drops that wait."""
        return [_parse(record) for record in self._ring.take()]

    def lost(self) -> int:
        """Drops that there was no room to tell of."""
        return self._lost.value()

    def close(self) -> None:
        """Detach; more than once is once."""
        self._undo.close()


class _Counter(Descriptor):
    """A number that the program counts up: an array map of one, mapped into memory (Linux 5.5)."""

    def __init__(self) -> None:
        attributes = struct.pack("=5I8x16s", 2, 4, 8, 1, 1 << 10, b"netkat_lost")
        super().__init__(bpf(Command.MAP_CREATE, bytearray(attributes)))
        try:
            self._memory = mmap.mmap(self.fd, mmap.PAGESIZE, prot=mmap.PROT_READ)
        except OSError:
            super().close()
            raise

    def value(self) -> int:
        """The count so far."""
        return int(struct.unpack_from("=Q", self._memory)[0])

    def close(self) -> None:
        """Unmap and close."""
        self._memory.close()
        super().close()


def _parse(record: bytes) -> Drop:
    (
        when,
        location,
        reason,
        length,
        protocol,
        network,
        _mac,
        _,
        interface,
        netns,
        tail,
        _,
    ) = _EVENT.unpack_from(record)
    kept = min(max(tail - network, 0), SNAPSHOT) if network != _NOT_SET else 0
    data = record[_EVENT.size : _EVENT.size + kept]
    return Drop(when, location, reason, length, protocol, interface, netns, data)


def _explain(error: OSError) -> SetupError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return MissingCapability(
            "watching the kernel's drops needs CAP_BPF and CAP_PERFMON",
            capability="CAP_PERFMON",
            hint="run as root, or leave --drops out",
        )
    if error.errno in (errno.EINVAL, errno.ENOENT):
        return KernelTooOld(
            f"watching the kernel's drops: {error.strerror}",
            feature="skb:kfree_skb by eBPF",
            needs="5.17",
        )
    return SetupError(f"watching the kernel's drops: {error.strerror}")


class _Code:
    """Instructions being put together (Documentation/bpf/standardization/instruction-set.rst)."""

    def __init__(self) -> None:
        self.code = bytearray()

    def add(self, op: int, dst: int = 0, src: int = 0, offset: int = 0, value: int = 0) -> None:
        self.code += struct.pack("=BBhi", op, src << 4 | dst, offset, value)

    def move(self, dst: int, src: int) -> None:
        self.add(0xBF, dst, src)

    def number(self, dst: int, value: int) -> None:
        self.add(0xB7, dst, value=value)

    def plus(self, dst: int, value: int) -> None:
        self.add(0x07, dst, value=value)

    def load(self, dst: int, src: int, offset: int, size: int) -> None:
        self.add({8: 0x79, 4: 0x61, 2: 0x69}[size], dst, src, offset)

    def store(self, dst: int, src: int, offset: int, size: int) -> None:
        self.add({8: 0x7B, 4: 0x63}[size], dst, src, offset)

    def map(self, dst: int, fd: int, kind: int = 1) -> None:
        self.add(0x18, dst, kind, value=fd)
        self.add(0)

    def call(self, helper: int) -> None:
        self.add(0x85, value=helper)

    def skip_if_zero(self, register: int) -> int:
        self.add(0x15, register)
        return len(self.code)

    def here(self, skip: int) -> None:
        struct.pack_into("=h", self.code, skip - 6, (len(self.code) - skip) // 8)

    def leave(self) -> None:
        self.number(0, 0)
        self.add(0x95)


def _assemble(types: KernelTypes, ring: int, lost: int) -> bytes:
    """r6 context, then scratch; r7 the packet; r8 the event; r9 scratch over calls."""
    code, skb = _Code(), "sk_buff"
    code.move(6, 1)
    code.load(7, 6, 0, 8)
    code.map(1, ring)
    code.number(2, _SIZE)
    code.number(3, 0)
    code.call(_RESERVE)
    code.add(0x55, 0, offset=6)  # there is room: over the next six
    code.map(1, lost, kind=2)
    code.number(2, 1)
    code.add(0xDB, 1, 2)
    code.leave()
    code.move(8, 0)
    for at in range(24, _EVENT.size, 8):  # what a failed read leaves alone
        code.add(0x7A, 8, offset=at)
    code.call(_KTIME)
    code.store(8, 0, 0, 8)
    code.load(1, 6, 8, 8)
    code.store(8, 1, 8, 8)
    code.load(1, 6, 16, 8)
    code.store(8, 1, 16, 4)

    def copy(size: int, to: int, base: int, offset: int) -> None:
        """``size`` bytes at base + offset in the kernel to the event's field at ``to``."""
        code.move(1, 8)
        code.plus(1, to)
        code.number(2, size)
        code.move(3, base)
        code.plus(3, offset)
        code.call(_PROBE_READ_KERNEL)

    def follow(to: int, base: int, offset: int) -> None:
        """The pointer at base + offset in the kernel to a register, by the stack."""
        code.move(1, 10)
        code.plus(1, -8)
        code.number(2, 8)
        code.move(3, base)
        code.plus(3, offset)
        code.add(0x7A, 10, offset=-8)
        code.call(_PROBE_READ_KERNEL)
        code.load(to, 10, -8, 8)

    copy(4, 20, 7, types.offset(skb, "len"))
    copy(2, 24, 7, types.offset(skb, "protocol"))
    copy(2, 26, 7, types.offset(skb, "network_header"))
    copy(2, 28, 7, types.offset(skb, "mac_header"))
    copy(4, 40, 7, types.offset(skb, "tail"))
    inode = types.offset("net", "ns", "inum")
    follow(6, 7, types.offset(skb, "sk"))
    without_socket = code.skip_if_zero(6)
    follow(9, 6, types.offset("sock", "__sk_common", "skc_net"))
    copy(4, 36, 9, inode)
    code.here(without_socket)
    follow(6, 7, types.offset(skb, "dev"))
    without_device = code.skip_if_zero(6)
    copy(4, 32, 6, types.offset("net_device", "ifindex"))
    follow(9, 6, types.offset("net_device", "nd_net"))
    copy(4, 36, 9, inode)
    code.here(without_device)
    follow(9, 7, types.offset(skb, "head"))
    code.load(1, 8, 26, 2)
    code.add(0x0F, 9, 1)
    copy(SNAPSHOT, _EVENT.size, 9, 0)
    code.move(1, 8)
    code.number(2, 0)
    code.call(_SUBMIT)
    code.leave()
    return bytes(code.code)


def _load(instructions: bytes) -> Descriptor:
    held, license_text, log = bytearray(instructions), bytearray(LICENSE), bytearray(1 << 16)
    attributes = struct.pack(
        "=IIQQIIQI4x16s8x",
        _RAW_TRACEPOINT,
        len(held) // 8,
        address(held),
        address(license_text),
        1,
        len(log),
        address(log),
        0,
        b"netkat_drops",
    )
    try:
        return Descriptor(bpf(Command.PROG_LOAD, bytearray(attributes)))
    except OSError as error:
        said = log.split(b"\0", 1)[0].decode(errors="replace").strip().splitlines()
        if error.errno in (errno.EINVAL, errno.EACCES) and said:
            raise SetupError(
                f"watching the kernel's drops: the verifier says: {said[-2:][0]}"
            ) from None
        raise


def _attach(program: int) -> Descriptor:
    name = bytearray(b"kfree_skb\0")
    attributes = struct.pack("=QI4x", address(name), program)
    return Descriptor(bpf(Command.RAW_TRACEPOINT_OPEN, bytearray(attributes)))
