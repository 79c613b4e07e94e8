"""The IPv4 part of the socket filter."""

from __future__ import annotations

from netkat.bpf.cbpf import (
    ADD,
    ADD_X,
    AND,
    JEQ,
    JSET,
    LD_B,
    LD_B_IND,
    LD_H,
    LD_H_IND,
    LD_MEM,
    LD_W_IND,
    LDX_MSH,
    LSH,
    RET,
    ST,
    TAX,
    Assembler,
    Label,
)
from netkat.bpf.flow_table import (
    HAIRPIN,
    PORTS,
    PROTOCOL,
    FlowTable,
    Precision,
)
from netkat.bpf.ip_headers import (
    ICMP_HEADER,
    keep,
    load_ports,
    match_address,
    match_any,
    match_ours,
    swap_ports,
)

_ICMP = 1
_ICMPV4_ERRORS = (3, 4, 11, 12)  # RFC 792
_VERSION, _VERSION_4 = 0xF0, 0x40
_OFFSET = 0x1FFF  # of the flags and fragment offset field


class Ipv4:
    """Emits the part for IPv4 packets."""

    def __init__(self, asm: Assembler, base: int, table: FlowTable, precision: Precision) -> None:
        self._asm, self._base = asm, base
        self._table, self._precision = table, precision
        self._swapped, self._keyed, self._reject = Label(), Label(), Label()

    def emit(self) -> None:
        """Every path ends in a return."""
        asm, base = self._asm, self._base
        icmp, transport, later = Label(), Label(), Label()
        match_address(asm, self._table.locals, base + 16, base + 12, self._reject)
        asm.add(LD_B, base + 9)
        asm.add(ST, PROTOCOL)
        asm.add(LDX_MSH, base)
        asm.jump(JEQ, _ICMP, icmp)
        match_any(asm, self._table.protocols, transport, self._reject)
        asm.place(transport)
        asm.add(LD_H, base + 6)
        asm.jump(JSET, _OFFSET, later)
        load_ports(asm, base, self._swapped, self._keyed)
        asm.place(icmp)
        self._icmp()
        asm.place(self._swapped)
        swap_ports(asm, base)
        asm.place(self._keyed)
        asm.add(ST, PORTS)
        self._table.match(asm, self._precision)
        asm.place(later)
        asm.add(LD_MEM, HAIRPIN)
        asm.jump(JEQ, 1, self._reject)
        self._table.match_fragment(asm, self._precision)
        asm.place(self._reject)
        asm.add(RET, 0)

    def _icmp(self) -> None:
        """The packet that an error quotes is one of ours, seen from the other end."""
        asm, base, inner = self._asm, self._base, self._base + ICMP_HEADER
        error, ours, quoted = Label(), Label(), Label()
        asm.add(LD_MEM, HAIRPIN)
        asm.jump(JEQ, 1, self._reject)
        asm.add(LD_H, base + 6)
        asm.jump(JSET, _OFFSET, self._reject)
        asm.add(LD_B_IND, base)
        match_any(asm, _ICMPV4_ERRORS, error, self._reject)
        asm.place(error)
        match_ours(asm, self._table.locals, LD_W_IND, inner + 12, ours, self._reject)
        asm.place(ours)
        asm.add(LD_B_IND, inner)
        asm.add(AND, _VERSION)
        asm.jump(JEQ, _VERSION_4, None, self._reject)
        asm.add(LD_H_IND, inner + 6)
        asm.jump(JSET, _OFFSET, self._reject)
        keep(asm, LD_W_IND, inner + 16, 1)
        asm.add(LD_B_IND, inner + 9)
        asm.add(ST, PROTOCOL)
        match_any(asm, self._table.protocols, quoted, self._reject)
        asm.place(quoted)
        asm.add(LD_B_IND, inner)
        asm.add(AND, 0x0F)
        asm.add(LSH, 2)
        asm.add(ADD_X)
        asm.add(ADD, ICMP_HEADER)
        asm.add(TAX)
