"""From a frame to what flow_table.py compares: the IPv4 and IPv6 part of the socket filter.

``base`` is where the network header lies in what the filter sees: behind the
14 bytes of Ethernet, or at 0 on a link without header. A packet socket of type
SOCK_RAW always sees the frame from its link header on (net/packet/af_packet.c,
packet_rcv), and a VLAN tag has been taken out by then (net/core/dev.c,
skb_vlan_untag), so this holds for tagged frames too. SKF_NET_OFF would say the
same, but until Linux 6.16 (d4bac0288a2b) it fails on whatever a driver left in
page fragments: iwlwifi does, and virtio_net for frames above 128 bytes.
"""

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
    LD_H,
    LD_H_IND,
    LD_IMM,
    LD_MEM,
    LD_W,
    LD_W_IND,
    LDX_IMM,
    LDX_MEM,
    LDX_MSH,
    LSH,
    OR_X,
    RET,
    RSH,
    ST,
    TAX,
    TXA,
    Assembler,
    Label,
)
from netkat.bpf.flow_table import (
    HAIRPIN,
    OURS,
    OURS_SHIFT,
    PEER,
    PORTS,
    PROTOCOL,
    TEMPORARY,
    FlowTable,
    Precision,
    Words,
)
from netkat.bpf.search import ACCEPT

EXTENSION_HEADERS = 6
"""That are stepped over; RFC 8200 has an order of five before the transport header."""

_ICMP, _ICMPV6 = 1, 58
_ICMPV4_ERRORS = (3, 4, 11, 12)  # RFC 792
_LAST_ICMPV6_ERROR = 4  # RFC 4443: unreachable, too big, time exceeded, parameter problem
_SOLICITATION, _ADVERTISEMENT = 135, 136  # RFC 4861
_ICMP_HEADER = 8
_FRAGMENT = 44
_STEPPED_OVER = (0, 43, 60)  # hop-by-hop, routing, destination options
_ALL_NODES = (0xFF020000, 0, 0, 1)


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
        asm.jump(JSET, 0x1FFF, later)
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
        asm, base, inner = self._asm, self._base, self._base + _ICMP_HEADER
        error, ours, quoted = Label(), Label(), Label()
        asm.add(LD_MEM, HAIRPIN)
        asm.jump(JEQ, 1, self._reject)
        asm.add(LD_H, base + 6)
        asm.jump(JSET, 0x1FFF, self._reject)
        asm.add(LD_B_IND, base)
        match_any(asm, _ICMPV4_ERRORS, error, self._reject)
        asm.place(error)
        match_ours(asm, self._table.locals, LD_W_IND, inner + 12, ours, self._reject)
        asm.place(ours)
        asm.add(LD_B_IND, inner)
        asm.add(AND, 0xF0)
        asm.jump(JEQ, 0x40, None, self._reject)
        asm.add(LD_H_IND, inner + 6)
        asm.jump(JSET, 0x1FFF, self._reject)
        keep(asm, LD_W_IND, inner + 16, 1)
        asm.add(LD_B_IND, inner + 9)
        asm.add(ST, PROTOCOL)
        match_any(asm, self._table.protocols, quoted, self._reject)
        asm.place(quoted)
        asm.add(LD_B_IND, inner)
        asm.add(AND, 0x0F)
        asm.add(LSH, 2)
        asm.add(ADD_X)
        asm.add(ADD, _ICMP_HEADER)
        asm.add(TAX)


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
        asm.add(LDX_IMM, 40)
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
            asm.jump(JSET, 0xFFF8, later)
            asm.add(LD_B_IND, base)
            asm.add(ST, TEMPORARY)
            asm.add(TXA)
            asm.add(ADD, 8)
            asm.add(TAX)
            asm.add(LD_MEM, TEMPORARY)
            asm.place(following)

    def _icmp(self) -> None:
        """An error that quotes one of our packets, or neighbour discovery."""
        asm, base, inner = self._asm, self._base, self._base + _ICMP_HEADER
        ours, parsed = Label(), Label()
        asm.add(LD_MEM, HAIRPIN)
        asm.jump(JEQ, 1, self._reject)
        asm.add(LD_B_IND, base)
        asm.jump(JEQ, _ADVERTISEMENT, self._advertisement)
        if self._claimed:
            asm.jump(JEQ, _SOLICITATION, self._solicitation)
        asm.jump(JGT, _LAST_ICMPV6_ERROR, self._reject)
        asm.jump(JGE, 1, None, self._reject)
        match_ours(asm, self._table.locals, LD_W_IND, inner + 8, ours, self._reject)
        asm.place(ours)
        asm.add(LD_B_IND, inner)
        asm.add(AND, 0xF0)
        asm.jump(JEQ, 0x60, None, self._reject)
        keep(asm, LD_W_IND, inner + 24, 4)
        asm.add(TXA)
        asm.add(ADD, _ICMP_HEADER + 40)
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
        asm.add(LDX_IMM, 40)
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
            compare(asm, target, LD_W_IND, self._base + _ICMP_HEADER, differs)
            asm.add(RET, ACCEPT)
            asm.place(differs)
        asm.add(RET, 0)


def match_address(
    asm: Assembler, ours: Sequence[Words], destination: int, source: int, foreign: Label
) -> None:
    """Which of our addresses, on which side: sets OURS, HAIRPIN and PEER."""
    width, inbound, hairpin, done = len(ours[0]), Label(), Label(), Label()
    match_ours(asm, ours, LD_W, destination, inbound)
    match_ours(asm, ours, LD_W, source, hairpin, foreign)
    asm.place(inbound)
    asm.add(LD_IMM, 0)
    asm.add(ST, HAIRPIN)
    keep(asm, LD_W, source, width)
    asm.go(done)
    asm.place(hairpin)
    asm.add(LD_IMM, 1)
    asm.add(ST, HAIRPIN)
    keep(asm, LD_W, destination, width)
    asm.place(done)


def match_ours(
    asm: Assembler,
    ours: Sequence[Words],
    load: int,
    offset: int,
    found: Label,
    foreign: Label | None = None,
) -> None:
    """Which of our addresses stands at ``offset``: sets OURS. ``foreign`` None goes on."""
    for number, address in enumerate(ours):
        differs = Label()
        compare(asm, address, load, offset, differs)
        asm.add(LD_IMM, number << OURS_SHIFT)
        asm.add(ST, OURS)
        asm.go(found)
        asm.place(differs)
    if foreign is not None:
        asm.go(foreign)


def compare(asm: Assembler, address: Words, load: int, offset: int, differs: Label) -> None:
    """Go on if this address stands at ``offset``. Its last word first: nets share the others."""
    for place in reversed(range(len(address))):
        asm.add(load, offset + 4 * place)
        asm.jump(JEQ, address[place], None, differs)


def keep(asm: Assembler, load: int, offset: int, width: int) -> None:
    """PEER = the address of ``width`` words at ``offset``."""
    for place in range(width):
        asm.add(load, offset + 4 * place)
        asm.add(ST, PEER + place)


def match_any(asm: Assembler, values: Sequence[int], then: Label, otherwise: Label) -> None:
    """Is A one of these?"""
    for value in values:
        asm.jump(JEQ, value, then)
    asm.go(otherwise)


def load_ports(asm: Assembler, base: int, swapped: Label, keyed: Label) -> None:
    """A = the peer's port above ours; X is where the transport header starts.

    In a packet of our own that came back (a hairpin), they stand the other way.
    """
    asm.add(LD_MEM, HAIRPIN)
    asm.jump(JEQ, 1, swapped)
    asm.add(LD_W_IND, base)
    asm.go(keyed)


def swap_ports(asm: Assembler, base: int) -> None:
    """A = the ports of a packet that we sent, the peer's above ours; X as in load_ports."""
    asm.add(LD_W_IND, base)
    asm.add(ST, TEMPORARY)
    asm.add(RSH, 16)
    asm.add(TAX)
    asm.add(LD_MEM, TEMPORARY)
    asm.add(LSH, 16)
    asm.add(OR_X)
