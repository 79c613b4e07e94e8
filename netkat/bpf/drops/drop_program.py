"""The program of drop_watch.py: a packet that the kernel drops, copied into a ring buffer.

Written as instructions, since it depends on nothing but a dozen offsets that are known
only when it runs. It may be used under Apache-2.0, BSD-2-Clause or GPL-2.0, at your choice.
"""

from __future__ import annotations

import struct

from netkat.bpf.drops.btf import KernelTypes

SNAPSHOT = 256
"""Bytes of a dropped packet, from its network header on."""

EVENT = struct.Struct("=QQIIHHHHII")
"""Time (CLOCK_MONOTONIC, ns), place in the kernel, reason, and of the sk_buff len, protocol,
network_header, mac_header, padding, its interface, and tail; then the SNAPSHOT."""

# Places on the program's stack.
_POINTER, _INTERFACE, _NETNS = -8, -16, -24

# bpf_helpers.h numbers.
_KTIME, _PROBE_READ_KERNEL, _RESERVE, _SUBMIT = 5, 113, 131, 132


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

    def skip_if(self, register: int, value: int) -> int:
        """Go on at here() where the lower half of the register is ``value``."""
        self.add(0x16, register, value=value - (value >> 31 << 32))
        return len(self.code)

    def skip_unless_zero(self, register: int) -> int:
        """Where the whole register is not."""
        self.add(0x55, register)
        return len(self.code)

    def here(self, skip: int) -> None:
        struct.pack_into("=h", self.code, skip - 6, (len(self.code) - skip) // 8)

    def leave(self) -> None:
        self.number(0, 0)
        self.add(0x95)


def assemble(types: KernelTypes, netns: int, ring: int, lost: int) -> bytes:
    """r6 context; r7 the packet; r8 what it points to, then the event; r9 scratch over calls."""
    code, skb = _Code(), "sk_buff"
    event, stack = 8, 10

    def read(size: int, to: int, at: int, base: int, offset: int) -> None:
        """``size`` bytes at base + offset in the kernel to ``at`` from register ``to``.

        Zeros where there is no memory.
        """
        code.move(1, to)
        code.plus(1, at)
        code.number(2, size)
        code.move(3, base)
        code.plus(3, offset)
        code.call(_PROBE_READ_KERNEL)

    def follow(to: int, base: int, offset: int) -> None:
        """The pointer at base + offset in the kernel to a register, by the stack."""
        read(8, stack, _POINTER, base, offset)
        code.load(to, stack, _POINTER, 8)

    code.move(6, 1)
    code.load(7, 6, 0, 8)
    inode = types.offset("net", "ns", "inum")
    follow(8, 7, types.offset(skb, "dev"))
    read(8, stack, _INTERFACE, 8, types.offset("net_device", "ifindex"))
    follow(9, 8, types.offset("net_device", "nd_net"))
    read(8, stack, _NETNS, 9, inode)
    code.load(1, stack, _NETNS, 4)
    with_device = code.skip_unless_zero(1)
    follow(8, 7, types.offset(skb, "sk"))
    follow(9, 8, types.offset("sock", "__sk_common", "skc_net"))
    read(8, stack, _NETNS, 9, inode)
    code.load(1, stack, _NETNS, 4)
    code.here(with_device)
    ours = code.skip_if(1, netns)
    code.leave()
    code.here(ours)
    code.map(1, ring)
    code.number(2, EVENT.size + SNAPSHOT)
    code.number(3, 0)
    code.call(_RESERVE)
    there_is_room = code.skip_unless_zero(0)
    code.map(1, lost, kind=2)
    code.number(2, 1)
    code.add(0xDB, 1, 2)
    code.leave()
    code.here(there_is_room)
    code.move(event, 0)
    code.call(_KTIME)
    code.store(event, 0, 0, 8)
    code.load(1, 6, 8, 8)
    code.store(event, 1, 8, 8)
    code.load(1, 6, 16, 8)
    code.store(event, 1, 16, 4)
    read(4, event, 20, 7, types.offset(skb, "len"))
    read(2, event, 24, 7, types.offset(skb, "protocol"))
    read(2, event, 26, 7, types.offset(skb, "network_header"))
    read(2, event, 28, 7, types.offset(skb, "mac_header"))
    code.load(1, stack, _INTERFACE, 4)
    code.store(event, 1, 32, 4)
    read(4, event, 36, 7, types.offset(skb, "tail"))
    follow(9, 7, types.offset(skb, "head"))
    code.load(1, event, 26, 2)
    code.add(0x0F, 9, 1)
    read(SNAPSHOT, event, EVENT.size, 9, 0)
    code.move(1, event)
    code.number(2, 0)
    code.call(_SUBMIT)
    code.leave()
    return bytes(code.code)
