"""From a frame to what flow_table.py compares: what both IP versions' parts share.

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
    JEQ,
    LD_IMM,
    LD_MEM,
    LD_W,
    LD_W_IND,
    LSH,
    OR_X,
    RSH,
    ST,
    TAX,
    Assembler,
    Label,
)
from netkat.bpf.flow_table import (
    HAIRPIN,
    OURS,
    OURS_SHIFT,
    PEER,
    TEMPORARY,
    Words,
)

ICMP_HEADER = 8
"""Bytes of an ICMP error, or of neighbour discovery, before what it is about."""


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
