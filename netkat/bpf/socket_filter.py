"""The packet socket's filter: what belongs to our flows gets in, nothing else wakes netkat.

What gets in, for a flow from ``local`` to ``remote``:

- its packets, and the later fragments of one (those by addresses and protocol,
  since they carry no ports);
- its own packets coming back in: a load balancer that sends them to this very host;
- ICMP errors that quote one of its packets, from whoever sent them;
- ARP replies and neighbour advertisements of its next hop.

Classic BPF, not eBPF: loading it takes no capability.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from netkat.bpf.cbpf import (
    AD_PKTTYPE,
    AD_PROTOCOL,
    AD_VLAN_TAG,
    AD_VLAN_TAG_PRESENT,
    JEQ,
    JGT,
    JSET,
    LD_H,
    LD_W,
    MAX_INSTRUCTIONS,
    RET,
    Assembler,
    Instruction,
    Label,
    ProgramTooLong,
)
from netkat.bpf.flow_table import FlowTable, Precision, Words, words
from netkat.bpf.ipv4_filter import Ipv4
from netkat.bpf.ipv6_filter import Ipv6
from netkat.bpf.search import ACCEPT
from netkat.errors import SetupError
from netkat.flow import Flow, IPAddress

_ETHERNET_HEADER = 14
_IPV4, _ARP, _IPV6 = 0x0800, 0x0806, 0x86DD
_VLAN_ID = 0x0FFF
_MULTICAST, _OTHERHOST = 2, 3  # PACKET_..., linux/if_packet.h; HOST and BROADCAST lie below
_REQUEST, _REPLY = 1, 2

BLOCK_ALL = [Instruction(RET, 0, 0, 0)]
"""Lets nothing in."""


def flow_filter(
    flows: Iterable[Flow],
    next_hops: Iterable[IPAddress] | None,
    *,
    ethernet: bool,
    claimed: bool = False,
    precision: Precision | None = None,
) -> list[Instruction]:
    """The filter for these flows. No flow lets nothing in.

    ``next_hops`` None is any: a listener does not know where its answers will go.
    ``claimed`` says that the flows' local addresses are not the kernel's own:
    frames for another MAC get in as well (PACKET_MR_PROMISC brings them), and
    ARP requests and neighbour solicitations for these addresses, which nobody
    else would answer. ``precision`` is the first that fits unless it is given.

    Errors: SetupError when the flows have too many local addresses or next hops.
    """
    flows = list(flows)
    if not flows:
        return list(BLOCK_ALL)
    hops = None if next_hops is None else sorted(set(next_hops), key=lambda hop: hop.packed)
    for step in Precision if precision is None else (precision,):
        try:
            return _Filter(flows, hops, ethernet=ethernet, claimed=claimed).assemble(step)
        except ProgramTooLong:
            continue
    raise SetupError(
        f"the filter for {len(flows)} flows is longer than the kernel takes",
        hint="use fewer local addresses on one interface",
    )


class _Filter:
    def __init__(
        self,
        flows: Sequence[Flow],
        next_hops: Sequence[IPAddress] | None,
        *,
        ethernet: bool,
        claimed: bool,
    ) -> None:
        self._flows = {4: [], 6: []}  # type: dict[int, list[Flow]]
        for flow in flows:
            self._flows[flow.version].append(flow)
        self._next_hops = next_hops
        self._ethernet, self._claimed = ethernet, claimed

    def assemble(self, precision: Precision) -> list[Instruction]:
        tables = {version: FlowTable(flows) for version, flows in self._flows.items() if flows}
        if sum(table.room(precision) for table in tables.values()) > MAX_INSTRUCTIONS:
            raise ProgramTooLong(f"{precision.name} takes more than {MAX_INSTRUCTIONS}")
        asm = Assembler()
        base = _ETHERNET_HEADER if self._ethernet else 0
        ipv4, ipv6, arp, reject = Label(), Label(), Label(), Label()
        asm.add(LD_W, AD_PROTOCOL)
        if self._flows[4]:
            asm.jump(JEQ, _IPV4, ipv4)
        if self._flows[6]:
            asm.jump(JEQ, _IPV6, ipv6)
        if self._flows[4] and self._ethernet:
            asm.jump(JEQ, _ARP, arp)
        asm.add(RET, 0)
        if self._flows[4]:
            table = FlowTable(self._flows[4])
            asm.place(ipv4)
            self._ours(asm, reject)
            Ipv4(asm, base, table, precision).emit()
            asm.place(arp)
            if self._ethernet:
                self._ours(asm, reject)
                self._arp(asm, base, table.locals)
        if self._flows[6]:
            asm.place(ipv6)
            self._ours(asm, reject)
            hops = self._hops(6) if self._ethernet else []
            Ipv6(
                asm, base, FlowTable(self._flows[6]), precision, hops, claimed=self._claimed
            ).emit()
        asm.place(reject)
        asm.add(RET, 0)
        return asm.assemble()

    def _ours(self, asm: Assembler, reject: Label) -> None:
        """Frames for this host on this network; not what it sends, nor another VLAN's.

        PACKET_IGNORE_OUTGOING keeps our own frames away where the kernel has it
        (4.20); this does it elsewhere.
        """
        no_tag = Label()
        asm.add(LD_W, AD_PKTTYPE)
        asm.jump(JGT, _OTHERHOST if self._claimed else _MULTICAST, reject)
        asm.add(LD_W, AD_VLAN_TAG_PRESENT)
        asm.jump(JEQ, 0, no_tag)
        asm.add(LD_W, AD_VLAN_TAG)
        # Id 0 is no VLAN, only a priority (IEEE 802.1Q, 9.6).
        asm.jump(JSET, _VLAN_ID, reject)
        asm.place(no_tag)

    def _arp(self, asm: Assembler, base: int, ours: Sequence[Words]) -> None:
        """ARP (RFC 826) for IPv4 on Ethernet; every path ends in a return."""
        reject, reply, target = Label(), Label(), Label()
        asm.add(LD_W, base + 2)
        asm.jump(JEQ, _IPV4 << 16 | 0x0604, None, reject)
        asm.add(LD_H, base + 6)
        if self._claimed:
            asm.jump(JEQ, _REQUEST, target)
        asm.jump(JEQ, _REPLY, reply, reject)
        asm.place(reply)
        hops = self._hops(4)
        if hops is not None:
            asm.add(LD_W, base + 14)
            for (hop,) in hops:
                asm.jump(JEQ, hop, target)
            asm.go(reject)
        asm.place(target)
        accept = Label()
        asm.add(LD_W, base + 24)
        for (address,) in ours:
            asm.jump(JEQ, address, accept)
        asm.place(reject)
        asm.add(RET, 0)
        asm.place(accept)
        asm.add(RET, ACCEPT)

    def _hops(self, version: int) -> list[Words] | None:
        if self._next_hops is None:
            return None
        return [words(hop.packed) for hop in self._next_hops if hop.version == version]
