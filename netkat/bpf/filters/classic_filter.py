"""The packet socket's filter as classic BPF, which requires no capability.

It accepts exactly what socket_filter.c accepts (see the comment at its top). Its flows
are part of the program, so it is assembled again when they change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from netkat.bpf.filters.cbpf import (
    AD_PKTTYPE,
    AD_PROTOCOL,
    AD_VLAN_TAG,
    AD_VLAN_TAG_PRESENT,
    ADD,
    JEQ,
    JEQ_X,
    JGT,
    JSET,
    LD_B_IND,
    LD_H,
    LD_IMM,
    LD_MEM,
    LD_W,
    LD_W_IND,
    LDX_IMM,
    LDX_MEM,
    RET,
    ST,
    TAX,
    TXA,
    Assembler,
    Instruction,
    Label,
    ProgramTooLong,
)
from netkat.bpf.filters.classic_flows import FlowTree, Words, compare, words
from netkat.bpf.filters.classic_headers import (
    DESTINATION,
    EXTENSION_HEADERS,
    PORTS,
    PROTOCOL,
    SOURCE,
    TEMPORARY,
    parse_ipv4,
    parse_ipv6,
)
from netkat.bpf.filters.range_search import ACCEPT
from netkat.errors import SetupError
from netkat.flow import Flow, IPAddress

_ETHERNET_HEADER: Final = 14
_IPV4, _ARP, _IPV6 = 0x0800, 0x0806, 0x86DD
_VLAN_ID = 0x0FFF
_MULTICAST, _OTHERHOST = 2, 3  # PACKET_..., linux/if_packet.h
_REQUEST, _REPLY = 1, 2
_ICMP = {4: 1, 6: 58}
_ICMP_HEADER = 8
_ICMPV4_ERRORS = (3, 4, 11, 12)  # RFC 792
_LAST_ICMPV6_ERROR = 4  # RFC 4443
_SOLICITATION, _ADVERTISEMENT = 135, 136  # RFC 4861
_QUOTED_EXTENSION_HEADERS = 1

BLOCK_ALL: Final = [Instruction(RET, 0, 0, 0)]
"""Accepts nothing."""


def classic_filter(
    flows: Mapping[Flow, IPAddress | None], *, ethernet: bool, promiscuous: bool = False
) -> list[Instruction]:
    """The filter for these flows and their next hops; without flows it accepts nothing.

    ``promiscuous`` accepts frames for other MACs, too: the flows' local address has one of its
    own. Errors: SetupError when the flows do not fit into a classic program.
    """
    if not flows:
        return list(BLOCK_ALL)
    try:
        return _Filter(flows, ethernet=ethernet, promiscuous=promiscuous).assemble()
    except ProgramTooLong as error:
        raise SetupError(
            f"the classic packet filter has no room for {len(flows)} flows [{error}]",
            hint="run as root, or with CAP_BPF and CAP_NET_ADMIN: the eBPF filter holds more",
        ) from None


class _Filter:
    def __init__(
        self, flows: Mapping[Flow, IPAddress | None], *, ethernet: bool, promiscuous: bool
    ) -> None:
        self._flows, self._ethernet = flows, ethernet
        self._base = _ETHERNET_HEADER if ethernet else 0
        self._last_type = _OTHERHOST if promiscuous else _MULTICAST
        self._asm, self._reject = Assembler(), Label()

    def assemble(self) -> list[Instruction]:
        asm, reject = self._asm, self._reject
        starts = {protocol: Label() for protocol in (_IPV4, _IPV6, _ARP)}
        self._frame_is_ours()
        asm.add(LD_W, AD_PROTOCOL)
        for protocol, start in starts.items():
            asm.jump(JEQ, protocol, start)
        asm.go(reject)
        for version, protocol in ((4, _IPV4), (6, _IPV6)):
            asm.place(starts[protocol])
            flows = [flow for flow in self._flows if flow.version == version]
            if flows:
                self._ip(version, FlowTree(asm, flows, reject))
            else:
                asm.go(reject)
        asm.place(starts[_ARP])
        self._arp()
        asm.place(reject)
        asm.add(RET, 0)
        return asm.assemble()

    def _frame_is_ours(self) -> None:
        """Frames for this host on this network: not what it sends, nor another VLAN's.

        PACKET_IGNORE_OUTGOING keeps sent frames away from Linux 4.20 on; this does before.
        """
        asm, no_tag = self._asm, Label()
        asm.add(LD_W, AD_PKTTYPE)
        asm.jump(JGT, self._last_type, self._reject)
        asm.add(LD_W, AD_VLAN_TAG_PRESENT)
        asm.jump(JEQ, 0, no_tag)
        asm.add(LD_W, AD_VLAN_TAG)
        # A tag with id 0 only carries a priority (IEEE 802.1Q, 9.6).
        asm.jump(JSET, _VLAN_ID, self._reject)
        asm.place(no_tag)

    def _ip(self, version: int, tree: FlowTree) -> None:
        asm, base, reject = self._asm, self._base, self._reject
        icmp, later, sent, reverse, keyed, fragment = (Label() for _ in range(6))
        asm.add(LDX_IMM, 0)
        self._parse(version, EXTENSION_HEADERS, later)
        asm.add(LD_MEM, PROTOCOL)
        asm.jump(JEQ, _ICMP[version], icmp)
        asm.add(LD_W_IND, base)
        asm.add(ST, PORTS)
        tree.find_local(DESTINATION, keyed, sent)
        asm.place(icmp)
        self._icmp(version, tree, sent)
        asm.place(later)
        asm.add(LD_IMM, 0)
        asm.add(ST, PORTS)
        tree.find_local(DESTINATION, fragment, reject)
        asm.place(sent)
        tree.find_local(SOURCE, reverse, reject)
        asm.place(reverse)
        tree.reverse()
        asm.place(keyed)
        tree.match(fragment)

    def _parse(self, version: int, extensions: int, later: Label) -> None:
        if version == 4:
            parse_ipv4(self._asm, self._base, later, self._reject)
        else:
            parse_ipv6(self._asm, self._base, extensions, later, self._reject)

    def _icmp(self, version: int, tree: FlowTree, sent: Label) -> None:
        """An error that quotes a packet sent by a flow, or neighbour discovery; X is its start."""
        asm, error = self._asm, Label()
        asm.add(LD_B_IND, self._base)
        if version == 4:
            for kind in _ICMPV4_ERRORS:
                asm.jump(JEQ, kind, error)
            asm.go(self._reject)
        else:
            self._neighbor_discovery(tree)
            asm.jump(JEQ, 0, self._reject)
            asm.jump(JGT, _LAST_ICMPV6_ERROR, self._reject)
        asm.place(error)
        asm.add(TXA)
        asm.add(ADD, _ICMP_HEADER)
        asm.add(TAX)
        self._parse(version, _QUOTED_EXTENSION_HEADERS, self._reject)
        asm.add(LD_W_IND, self._base)
        asm.add(ST, PORTS)
        asm.go(sent)

    def _neighbor_discovery(self, tree: FlowTree) -> None:
        """Solicitations for a local address, advertisements of a next hop; keeps A and X."""
        hops, any_hop = self._next_hops(6)
        self._target(_SOLICITATION, tree.locals, any_target=False)
        self._target(_ADVERTISEMENT, hops, any_target=any_hop)

    def _target(self, kind: int, targets: Iterable[Words], *, any_target: bool) -> None:
        asm, other = self._asm, Label()
        target = self._base + _ICMP_HEADER
        asm.jump(JEQ, kind, None, other)
        asm.add(LD_W_IND, target + 12)  # rejects a message without a whole target
        if any_target:
            asm.add(RET, ACCEPT)
        else:
            for address in targets:
                differs = Label()
                compare(asm, address, LD_W_IND, target, differs)
                asm.add(RET, ACCEPT)
                asm.place(differs)
            asm.add(RET, 0)
        asm.place(other)

    def _arp(self) -> None:
        """ARP (RFC 826) for IPv4 on Ethernet."""
        asm, base = self._asm, self._base
        accept, request, sender = Label(), Label(), Label()
        hops, any_hop = self._next_hops(4)
        asm.add(LD_W, base + 2)
        asm.jump(JEQ, _IPV4 << 16 | 0x0604, None, self._reject)
        asm.add(LD_W, base + 24)
        asm.add(ST, TEMPORARY)
        asm.add(LD_H, base + 6)
        asm.jump(JEQ, _REQUEST, request)
        asm.jump(JEQ, _REPLY, accept if any_hop else sender, self._reject)
        asm.place(request)
        asm.add(LD_MEM, TEMPORARY)
        for local in sorted({int(flow.local) for flow in self._flows if flow.version == 4}):
            asm.jump(JEQ, local, accept)
        if any_hop:  # a gratuitous request
            asm.add(LDX_MEM, TEMPORARY)
            asm.add(LD_W, base + 14)
            asm.jump(JEQ_X, 0, accept)
        asm.place(sender)
        asm.add(LD_W, base + 14)
        for (hop,) in hops:
            asm.jump(JEQ, hop, accept)
        asm.go(self._reject)
        asm.place(accept)
        asm.add(RET, ACCEPT)

    def _next_hops(self, version: int) -> tuple[list[Words], bool]:
        """The next hops of one IP version, and whether any host may be one: a listener's peers
        are not known."""
        if not self._ethernet:
            return [], False
        hops = {
            words(hop.packed)
            for flow, hop in self._flows.items()
            if hop is not None and hop.version == version and not flow.any_peer
        }
        return sorted(hops), any(flow.any_peer and flow.version == version for flow in self._flows)
