"""The IPv6 part of the socket filter."""

from __future__ import annotations

from collections.abc import Sequence

from netkat.bpf.cbpf import (
    ADD,
    ADD_X,
    AND,
    JEQ,
    JGE,
    JGT,
    JSET,
    LD_B,
    LD_B_IND,
    LD_H_IND,
    LD_MEM,
    LD_W,
    LD_W_IND,
    LDX_IMM,
    LDX_MEM,
    LSH,
    RET,
    ST,
    TAX,
    TXA,
    Assembler,
    Label,
)
from netkat.bpf.flow_table import (
    HAIRPIN,
    PORTS,
    PROTOCOL,
    TEMPORARY,
    FlowTable,
    Precision,
    Words,
)
from netkat.bpf.ip_headers import (
    ICMP_HEADER,
    compare,
    keep,
    load_ports,
    match_address,
    match_any,
    match_ours,
    swap_ports,
)
from netkat.bpf.search import ACCEPT

EXTENSION_HEADERS = 6
"""That are stepped over; RFC 8200 has an order of five before the transport header."""

_HEADER = 40
_ICMPV6 = 58
_LAST_ERROR = 4  # RFC 4443: unreachable, too big, time exceeded, parameter problem
_SOLICITATION, _ADVERTISEMENT = 135, 136  # RFC 4861
_FRAGMENT = 44
_STEPPED_OVER = (0, 43, 60)  # hop-by-hop, routing, destination options
_ALL_NODES = (0xFF020000, 0, 0, 1)
_VERSION, _VERSION_6 = 0xF0, 0x60
_OFFSET = 0xFFF8  # of a fragment header's third and fourth byte


class Ipv6:
    """Emits the part for IPv6 packets. ``next_hops`` None lets every advertisement to us in."""

    def __init__(
        self,
        asm: Assembler,
        base: int,
        table: FlowTable,
        precision: Precision,
        next_hops: Sequence[Words] | None,
        *,
        claimed: bool,
    ) -> None:
        self._asm, self._base = asm, base
        self._table, self._precision = table, precision
        self._next_hops, self._claimed = next_hops, claimed
        self._swapped, self._keyed, self._reject = Label(), Label(), Label()
        self._advertisement, self._solicitation = Label(), Label()

    def emit(self) -> None:
        """Every path ends in a return."""
        asm, base = self._asm, self._base
        foreign, parsed, transport = Label(), Label(), Label()
        icmp, later = Label(), Label()
        match_address(asm, self._table.locals, base + 24, base + 8, foreign)
        asm.add(LDX_IMM, _HEADER)
        asm.add(LD_B, base + 6)
        self._walk(parsed, later)
        asm.place(parsed)
        asm.add(ST, PROTOCOL)
        asm.jump(JEQ, _ICMPV6, icmp)
        match_any(asm, self._table.protocols, transport, self._reject)
        asm.place(transport)
        load_ports(asm, base, self._swapped, self._keyed)
        asm.place(icmp)
        self._icmp()
        asm.place(self._swapped)
        swap_ports(asm, base)
        asm.place(self._keyed)
        asm.add(ST, PORTS)
        self._table.match(asm, self._precision)
        asm.place(later)
        self._later_fragment()
        asm.place(foreign)
        self._multicast_neighbor()
        asm.place(self._advertisement)
        self._known_target(self._next_hops)
        asm.place(self._solicitation)
        self._known_target(self._table.locals)
        asm.place(self._reject)
        asm.add(RET, 0)

    def _walk(self, done: Label, later: Label) -> None:
        """Step over extension headers: A is the next header's number, X where it starts."""
        asm, base = self._asm, self._base
        for _ in range(EXTENSION_HEADERS):
            options, fragment, following = Label(), Label(), Label()
            asm.jump(JEQ, _FRAGMENT, fragment)
            match_any(asm, _STEPPED_OVER, options, done)
            asm.place(options)
            asm.add(LD_B_IND, base)
            asm.add(ST, TEMPORARY)
            asm.add(LD_B_IND, base + 1)
            asm.add(ADD, 1)
            asm.add(LSH, 3)
            asm.add(ADD_X)
            asm.add(TAX)
            asm.add(LD_MEM, TEMPORARY)
            asm.go(following)
            asm.place(fragment)
            asm.add(LD_H_IND, base + 2)
            asm.jump(JSET, _OFFSET, later)
            asm.add(LD_B_IND, base)
            asm.add(ST, TEMPORARY)
            asm.add(TXA)
            asm.add(ADD, 8)
            asm.add(TAX)
            asm.add(LD_MEM, TEMPORARY)
            asm.place(following)

    def _icmp(self) -> None:
        """An error that quotes one of our packets, or neighbour discovery."""
        asm, base, inner = self._asm, self._base, self._base + ICMP_HEADER
        ours, parsed = Label(), Label()
        asm.add(LD_MEM, HAIRPIN)
        asm.jump(JEQ, 1, self._reject)
        asm.add(LD_B_IND, base)
        asm.jump(JEQ, _ADVERTISEMENT, self._advertisement)
        if self._claimed:
            asm.jump(JEQ, _SOLICITATION, self._solicitation)
        asm.jump(JGT, _LAST_ERROR, self._reject)
        asm.jump(JGE, 1, None, self._reject)
        match_ours(asm, self._table.locals, LD_W_IND, inner + 8, ours, self._reject)
        asm.place(ours)
        asm.add(LD_B_IND, inner)
        asm.add(AND, _VERSION)
        asm.jump(JEQ, _VERSION_6, None, self._reject)
        keep(asm, LD_W_IND, inner + 24, 4)
        asm.add(TXA)
        asm.add(ADD, ICMP_HEADER + _HEADER)
        asm.add(ST, TEMPORARY)
        asm.add(LD_B_IND, inner + 6)
        asm.add(LDX_MEM, TEMPORARY)
        self._walk(parsed, self._reject)
        asm.place(parsed)
        asm.add(ST, PROTOCOL)
        match_any(asm, self._table.protocols, self._swapped, self._reject)

    def _later_fragment(self) -> None:
        """X is where the fragment header starts; its first byte names the protocol."""
        asm, ours = self._asm, Label()
        asm.add(LD_MEM, HAIRPIN)
        asm.jump(JEQ, 1, self._reject)
        asm.add(LD_B_IND, self._base)
        asm.add(ST, PROTOCOL)
        match_any(asm, self._table.protocols, ours, self._reject)
        asm.place(ours)
        self._table.match_fragment(asm, self._precision)

    def _multicast_neighbor(self) -> None:
        """Neighbour discovery that is not addressed to us alone: X is where ICMPv6 starts.

        A next hop that moves to another MAC tells all nodes (RFC 4861, 7.2.6); for
        an address that the kernel does not have, the solicitations are ours to answer.
        """
        asm, base = self._asm, self._base
        asm.add(LD_B, base + 6)
        asm.jump(JEQ, _ICMPV6, None, self._reject)
        asm.add(LDX_IMM, _HEADER)
        asm.add(LD_B_IND, base)
        if self._claimed:
            asm.jump(JEQ, _SOLICITATION, self._solicitation)
        asm.jump(JEQ, _ADVERTISEMENT, None, self._reject)
        if self._next_hops is None:
            asm.go(self._reject)
            return
        for place, word in enumerate(_ALL_NODES):
            asm.add(LD_W, base + 24 + 4 * place)
            asm.jump(JEQ, word, None, self._reject)

    def _known_target(self, targets: Sequence[Words] | None) -> None:
        """Accept if the target address of a solicitation or advertisement is one of these."""
        asm = self._asm
        if targets is None:
            asm.add(RET, ACCEPT)
            return
        for target in targets:
            differs = Label()
            compare(asm, target, LD_W_IND, self._base + ICMP_HEADER, differs)
            asm.add(RET, ACCEPT)
            asm.place(differs)
        asm.add(RET, 0)
