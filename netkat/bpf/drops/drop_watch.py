"""An eBPF program on the tracepoint skb:kfree_skb: which packet the kernel dropped, and why.

A raw tracepoint, so neither kprobes nor tracefs are needed; offsets come from
the kernel's own type information (drop_program.py has the instructions).

The two helpers that read kernel memory are kept for programs under the GPL.
That program may be used under Apache-2.0, BSD-2-Clause or GPL-2.0, at
your choice; the kernel's license string for that is "Dual BSD/GPL".
"""

from __future__ import annotations

import errno
import mmap
import struct
from contextlib import ExitStack
from typing import NamedTuple

from netkat.bpf.bpf_syscall import Command, Descriptor, address, bpf
from netkat.bpf.drops.btf import KernelTypes
from netkat.bpf.drops.drop_program import EVENT, SNAPSHOT, assemble
from netkat.bpf.drops.ring_buffer import RingBuffer
from netkat.errors import KernelTooOld, MissingCapability, SetupError

LICENSE = b"Dual BSD/GPL\0"
_RING = 1 << 20
_RAW_TRACEPOINT = 17
_NOT_SET = 0xFFFF
"""skb->network_header while it is not set."""


class Drop(NamedTuple):
    """One packet that the kernel dropped."""

    monotonic: int
    """Nanoseconds of CLOCK_MONOTONIC."""
    location: int
    """Address of the kernel code that dropped it."""
    reason: int
    length: int
    """skb->len: from where the packet was being read, so headers may be missing from it."""
    protocol: int
    """EtherType, network order as in the skb."""
    interface: int
    data: bytes


class DropWatch:
    """The program while it is attached: drops of one network namespace, by its inode number.

    close() is idempotent; the end of the process detaches it too.
    Errors: KernelTooOld (5.17 gave drops a reason), MissingCapability, SetupError.
    """

    def __init__(self, netns: int) -> None:
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
                program = _load(assemble(types, netns, self._ring.fd, self._lost.fd))
                undo.callback(program.close)
                link = _attach(program.fd)
                undo.callback(link.close)
            except OSError as error:
                raise _explain(error) from None
            self._undo = undo.pop_all()

    def fileno(self) -> int:
        """Return a descriptor that polls readable while drops are in the ring buffer."""
        return self._ring.fd

    def take(self) -> list[Drop]:
        """Return the drops in the ring buffer, without waiting."""
        return [_parse(record) for record in self._ring.take()]

    def lost(self) -> int:
        """Return how many drops were lost because the ring buffer was full."""
        return self._lost.value()

    def close(self) -> None:
        """Detach. Idempotent."""
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
        tail,
    ) = EVENT.unpack_from(record)
    kept = min(max(tail - network, 0), SNAPSHOT) if network != _NOT_SET else 0
    data = record[EVENT.size : EVENT.size + kept]
    return Drop(when, location, reason, length, protocol, interface, data)


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
        lines = log.split(b"\0", 1)[0].decode(errors="replace").strip().splitlines()
        if error.errno in (errno.EINVAL, errno.EACCES) and lines:
            raise SetupError(
                f"watching the kernel's drops: rejected by the verifier [{lines[-2:][0]}]"
            ) from None
        raise


def _attach(program: int) -> Descriptor:
    name = bytearray(b"kfree_skb\0")
    attributes = struct.pack("=QI4x", address(name), program)
    return Descriptor(bpf(Command.RAW_TRACEPOINT_OPEN, bytearray(attributes)))
