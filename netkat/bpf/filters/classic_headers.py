"""IP headers in classic BPF, into scratch memory: parse_ipv4() and parse_ipv6() of flow_lookup.h.

``base`` is where the network header starts: 14 on Ethernet, 0 on a link without a header. A
packet socket of type SOCK_RAW sees the frame from its link header on (net/packet/af_packet.c,
packet_rcv), without VLAN tag (net/core/dev.c, skb_vlan_untag). Loads relative to the network
header (SKF_NET_OFF) fail until Linux 6.16 (d4bac0288a2b) on headers that a driver left in
page fragments: iwlwifi does, and virtio_net for frames above 128 bytes.

A load from beyond the packet's end rejects the packet.
"""

from __future__ import annotations

from typing import Final

from netkat.bpf.filters.cbpf import (
    ADD,
    ADD_X,
    AND,
    JEQ,
    JGE,
    JSET,
    LD_B_IND,
    LD_H_IND,
    LD_MEM,
    LD_W_IND,
    LSH,
    ST,
    TAX,
    TXA,
    Assembler,
    Label,
)

SOURCE, DESTINATION, PROTOCOL, PORTS, GROUP, TEMPORARY = 0, 4, 8, 9, 10, 11
"""Scratch memory. An address takes up to four words."""

EXTENSION_HEADERS: Final = 6
"""That are skipped before the transport header (RFC 8200)."""

_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION_OPTIONS = 0, 43, 44, 60
_IPV6_HEADER = 40


def parse_ipv4(asm: Assembler, base: int, later: Label, reject: Label) -> None:
    """Parse the IPv4 header at X: addresses and protocol to memory, X to the transport header.

    Jumps to ``later`` for a fragment other than the first.
    """
    asm.add(LD_B_IND, base)
    asm.add(AND, 0xF0)
    asm.jump(JEQ, 0x40, None, reject)
    asm.add(LD_B_IND, base)
    asm.add(AND, 0x0F)
    asm.jump(JGE, 5, None, reject)
    _store(asm, LD_W_IND, base + 12, SOURCE, 1)
    _store(asm, LD_W_IND, base + 16, DESTINATION, 1)
    asm.add(LD_B_IND, base + 9)
    asm.add(ST, PROTOCOL)
    asm.add(LD_H_IND, base + 6)
    asm.jump(JSET, 0x1FFF, later)
    asm.add(LD_B_IND, base)
    asm.add(AND, 0x0F)
    asm.add(LSH, 2)
    asm.add(ADD_X)
    asm.add(TAX)


def parse_ipv6(asm: Assembler, base: int, extensions: int, later: Label, reject: Label) -> None:
    """Parse the IPv6 header at X as parse_ipv4() does, and skip so many extension headers."""
    asm.add(LD_B_IND, base)
    asm.add(AND, 0xF0)
    asm.jump(JEQ, 0x60, None, reject)
    _store(asm, LD_W_IND, base + 8, SOURCE, 4)
    _store(asm, LD_W_IND, base + 24, DESTINATION, 4)
    asm.add(LD_B_IND, base + 6)
    asm.add(ST, PROTOCOL)
    _move(asm, _IPV6_HEADER)
    parsed = Label()
    for _ in range(extensions):
        _skip_extension(asm, base, parsed, later, reject)
    asm.place(parsed)


def _skip_extension(asm: Assembler, base: int, parsed: Label, later: Label, reject: Label) -> None:
    """PROTOCOL is the number of the header at X; afterwards the same of the one behind it."""
    options, routing, fragment, skipped = Label(), Label(), Label(), Label()
    asm.add(LD_MEM, PROTOCOL)
    asm.jump(JEQ, _HOP_BY_HOP, options)
    asm.jump(JEQ, _DESTINATION_OPTIONS, options)
    asm.jump(JEQ, _FRAGMENT, fragment)
    asm.jump(JEQ, _ROUTING, routing, parsed)
    asm.place(fragment)
    asm.add(LD_B_IND, base)
    asm.add(ST, PROTOCOL)
    asm.add(LD_H_IND, base + 2)
    asm.jump(JSET, 0xFFF8, later)
    _move(asm, 8)
    asm.go(skipped)
    asm.place(routing)
    asm.add(LD_B_IND, base + 3)  # segments left
    asm.jump(JEQ, 0, None, reject)
    asm.place(options)
    asm.add(LD_B_IND, base)
    asm.add(ST, PROTOCOL)
    asm.add(LD_B_IND, base + 1)
    asm.add(ADD, 1)
    asm.add(LSH, 3)
    asm.add(ADD_X)
    asm.add(TAX)
    asm.place(skipped)


def _move(asm: Assembler, length: int) -> None:
    asm.add(TXA)
    asm.add(ADD, length)
    asm.add(TAX)


def _store(asm: Assembler, load: int, offset: int, slot: int, words: int) -> None:
    for word in range(words):
        asm.add(load, offset + 4 * word)
        asm.add(ST, slot + word)
