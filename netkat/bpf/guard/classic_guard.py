"""The guard as a classic BPF program, for cls_bpf in direct-action mode.

It drops what ingress.c drops, but has no map: its flows are part of the program, which is
assembled again when they change.

Every load is preceded by a check of the packet's length, since a classic
program that loads from beyond the end returns 0, and 0 is TC_ACT_OK here: the
filters behind would be skipped. Loads are from the frame's start, where the
network header's place is known by the link: loads relative to it (SKF_NET_OFF)
see the linear part of a packet only (net/core/filter.c,
bpf_internal_load_pointer_neg_helper), and drivers may leave headers in
fragments.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from netkat.bpf.filters.cbpf import (
    AD_PROTOCOL,
    AD_VLAN_TAG,
    AD_VLAN_TAG_PRESENT,
    ADD,
    ADD_X,
    AND,
    JEQ,
    JGE,
    JSET,
    LD_B,
    LD_B_IND,
    LD_H,
    LD_H_IND,
    LD_MEM,
    LD_W,
    LD_W_IND,
    LDX_MEM,
    LDX_MSH,
    LSH,
    RET,
    RSH,
    ST,
    TAX,
    TXA,
    Assembler,
    Instruction,
    Label,
)
from netkat.bpf.filters.classic_headers import EXTENSION_HEADERS
from netkat.bpf.tc import SHOT, UNSPEC
from netkat.flow import Flow, IPAddress, Protocol

_LD_LEN, _JGE_X, _LD_IMM = 0x80, 0x3D, 0x00
_ETHERNET_HEADER = 14
_IN_REACH = 250
_OFFSET, _NEXT, _END = 0, 1, 2
"""Scratch memory: the transport header's offset, the next header's number, an end to check."""

_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION = 0, 43, 44, 60


def guard_program(
    flows: Iterable[Flow], claimed: Iterable[IPAddress] = (), *, ethernet: bool
) -> list[Instruction]:
    """Drops the flows and all for the ``claimed`` addresses, passes all else on.

    Errors: cbpf.ProgramTooLong.
    """
    base = _ETHERNET_HEADER if ethernet else 0
    return _Writer(sorted(flows, key=_order), list(claimed), base).write()


def _order(flow: Flow) -> tuple[int, int, bytes, bytes, int, int]:
    remote = b"" if flow.remote is None else flow.remote.packed
    where = (flow.version, flow.protocol, flow.local.packed, remote)
    return (*where, flow.local_port, flow.remote_port)


class _Writer:
    """Writes one program; ``base`` is where the network header starts."""

    def __init__(self, flows: list[Flow], claimed: list[IPAddress], base: int) -> None:
        self.flows, self.claimed, self.base = flows, claimed, base
        self.out = Assembler()
        self.skip = Label()

    def write(self) -> list[Instruction]:
        out, untagged = self.out, Label()
        # The tag is stripped before filters run; id 0 only carries a priority.
        out.add(LD_W, AD_VLAN_TAG_PRESENT)
        out.jump(JEQ, 0, untagged)
        out.add(LD_W, AD_VLAN_TAG)
        out.jump(JSET, 0x0FFF, self.skip)
        out.place(untagged)
        out.add(LD_W, AD_PROTOCOL)
        for version, ethertype, headers in ((4, 0x0800, self._ipv4), (6, 0x86DD, self._ipv6)):
            if any(wanted.version == version for wanted in (*self.flows, *self.claimed)):
                other = Label()
                out.jump(JEQ, ethertype, None, other)
                headers()
                out.place(other)
        out.go(self.skip)
        out.place(self.skip)
        out.add(RET, UNSPEC)
        return out.assemble()

    def _ipv4(self) -> None:
        out = self.out
        out.add(_LD_LEN)
        out.jump(JGE, self.base + 20, None, self.skip)
        out.add(LD_B, self.base)
        out.add(RSH, 4)
        out.jump(JEQ, 4, None, self.skip)
        out.add(LD_B, self.base)
        out.add(AND, 15)
        out.jump(JGE, 5, None, self.skip)
        self._claims(4, 16)
        out.add(LD_H, self.base + 6)
        out.jump(JSET, 0x1FFF, self.skip)
        out.add(LDX_MSH, self.base)
        out.add(LD_B, self.base + 9)
        self._transport(4, local_at=16, remote_at=12)

    def _ipv6(self) -> None:
        out, transport = self.out, Label()
        out.add(_LD_LEN)
        out.jump(JGE, self.base + 40, None, self.skip)
        out.add(LD_B, self.base)
        out.add(RSH, 4)
        out.jump(JEQ, 6, None, self.skip)
        self._claims(6, 24)
        out.add(_LD_IMM, 40)
        out.add(TAX)
        out.add(LD_B, self.base + 6)
        for _ in range(EXTENSION_HEADERS):
            for protocol in Protocol:
                out.jump(JEQ, protocol, transport)
            self._step_over()
        out.place(transport)
        self._transport(6, local_at=24, remote_at=8)

    def _step_over(self) -> None:
        """A is the header's number, X its offset; the same of the next afterwards."""
        out = self.out
        fragment, routing, options, step = (Label() for _ in range(4))
        self._check(4)
        for number, place in (
            (_FRAGMENT, fragment),
            (_ROUTING, routing),
            (_HOP_BY_HOP, options),
        ):
            out.jump(JEQ, number, place)
        out.jump(JEQ, _DESTINATION, options, self.skip)
        out.place(fragment)
        out.add(LD_H_IND, self.base + 2)
        out.jump(JSET, 0xFFF8, self.skip)
        out.add(_LD_IMM, 8)
        out.go(step)
        out.place(routing)
        out.add(LD_B_IND, self.base + 3)
        out.jump(JEQ, 0, None, self.skip)
        out.place(options)
        out.add(LD_B_IND, self.base + 1)
        out.add(ADD, 1)
        out.add(LSH, 3)
        out.place(step)
        out.add(ADD_X)
        out.add(ST, _OFFSET)
        out.add(LD_B_IND, self.base)
        out.add(LDX_MEM, _OFFSET)

    def _check(self, length: int) -> None:
        """Pass on a packet that ends before X + length; keeps A and X."""
        out = self.out
        out.add(ST, _NEXT)
        out.add(TXA)
        out.add(ST, _OFFSET)
        out.add(ADD, self.base + length)
        out.add(ST, _END)
        out.add(_LD_LEN)
        out.add(LDX_MEM, _END)
        out.jump(_JGE_X, 0, None, self.skip)
        out.add(LDX_MEM, _OFFSET)
        out.add(LD_MEM, _NEXT)

    def _transport(self, version: int, *, local_at: int, remote_at: int) -> None:
        """A is the protocol, X the transport header's offset."""
        out = self.out
        mine = [flow for flow in self.flows if flow.version == version]
        self._check(4)
        for protocol, of_protocol in groupby(mine, key=lambda flow: flow.protocol):
            other = Label()
            out.jump(JEQ, protocol, None, other)
            for local, of_local in groupby(of_protocol, key=lambda flow: flow.local):
                elsewhere = Label()
                self._address(local.packed, local_at, elsewhere)
                for remote, group in groupby(of_local, key=lambda flow: flow.remote):
                    self._ports(remote.packed if remote else b"", remote_at, list(group))
                out.go(self.skip)
                out.place(elsewhere)
            out.go(self.skip)
            out.place(other)
        out.go(self.skip)

    def _claims(self, version: int, local_at: int) -> None:
        """Drop what is for a claimed address, whatever it carries."""
        for address in self.claimed:
            if address.version == version:
                other = Label()
                self._address(address.packed, local_at, other)
                self.out.add(RET, SHOT)
                self.out.place(other)

    def _address(self, packed: bytes, at: int, otherwise: Label) -> None:
        for i in range(0, len(packed), 4):
            self.out.add(LD_W, self.base + at + i)
            self.out.jump(JEQ, int.from_bytes(packed[i : i + 4], "big"), None, otherwise)

    def _ports(self, remote: bytes, remote_at: int, flows: list[Flow]) -> None:
        out, elsewhere = self.out, Label()
        self._address(remote, remote_at, elsewhere)
        if remote:
            out.add(LD_W_IND, self.base)
            self._one_of([flow.remote_port << 16 | flow.local_port for flow in flows])
        else:
            out.add(LD_H_IND, self.base + 2)
            self._one_of([flow.local_port for flow in flows])
        out.place(elsewhere)

    def _one_of(self, values: list[int]) -> None:
        """Drop when A is one of them. Each has a drop in reach: a far jump costs two more."""
        out = self.out
        for at in range(0, len(values), _IN_REACH):
            hit, more = Label(), Label()
            for value in values[at : at + _IN_REACH]:
                out.jump(JEQ, value, hit)
            out.go(more)
            out.place(hit)
            out.add(RET, SHOT)
            out.place(more)
