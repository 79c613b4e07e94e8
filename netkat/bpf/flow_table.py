"""The flows of one IP version as a decision tree in classic BPF.

The header code (ip_headers.py) brings every packet, whichever way it came, to
the same form in scratch memory: which of our addresses, which protocol, the two
ports, the peer. So each flow stands in the program once, not three times.

A program has room for 4,096 instructions, so how exact the tree is depends on
the number of flows; see Precision.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable
from typing import NamedTuple

from netkat.bpf.cbpf import (
    AND,
    JEQ,
    LD_MEM,
    LDX_MEM,
    MUL,
    OR_X,
    RET,
    RSH,
    TAX,
    XOR_X,
    Assembler,
    Label,
)
from netkat.bpf.search import ACCEPT, Test, search, search_ranges
from netkat.flow import Flow

Words = tuple[int, ...]
"""An address as 32-bit numbers: one for IPv4, four for IPv6."""

# Scratch memory. PEER takes up to four words from here on.
OURS, HAIRPIN, PROTOCOL, PORTS, TEMPORARY, PEER = 0, 1, 2, 3, 4, 5
OURS_SHIFT = 8
"""OURS holds the number of our address above the bits of a protocol number."""

_ODD = 0x01000193  # FNV-1's prime; any odd number makes the digest's steps reversible
_MASK = 0xFFFFFFFF
MAX_RANGES = 500


class Precision(enum.IntEnum):
    """How closely a packet is compared, most exactly first; the first that fits is taken.

    Whatever the step, protocol and our own address are compared as they are,
    and nothing that belongs to a flow is kept out.
    """

    EXACT = 0
    """Whole five-tuples: about 1,000 flows to one IPv4 peer, 750 to as many peers, 180 of IPv6."""
    DIGEST = 1
    """A 32-bit digest of the five-tuple: about 1,300 flows, and a foreign packet has a
    chance of (number of flows) / 2**32. One that differs from every flow in the address
    or the ports alone never passes."""
    DIGEST_ANY_FRAGMENT = 2
    """As DIGEST, but later fragments pass from any sender: about 2,600 flows."""
    PORT_RANGES = 3
    """Local ports alone, near ones joined to ranges: any number of flows. Packets
    of this host's own flows within a range pass too."""


class _Wild(NamedTuple):
    peer: Words | None
    port: int


class FlowTable:
    """The flows of one version, by what is compared first."""

    def __init__(self, flows: Iterable[Flow]) -> None:
        flows = list(flows)
        self.locals: list[Words] = sorted({words(flow.local.packed) for flow in flows})
        self.protocols = sorted({int(flow.protocol) for flow in flows})
        self._exact: dict[int, dict[int, set[Words]]] = {}
        self._wild: dict[int, dict[int, set[_Wild]]] = {}
        self._local_ports = {flow.local_port for flow in flows}
        numbers = {address: number for number, address in enumerate(self.locals)}
        for flow in flows:
            group = numbers[words(flow.local.packed)] << OURS_SHIFT | flow.protocol
            peer = None if flow.remote is None else words(flow.remote.packed)
            if peer is None or not flow.remote_port:
                by_port = self._wild.setdefault(group, {})
                by_port.setdefault(flow.local_port, set()).add(_Wild(peer, flow.remote_port))
            else:
                by_ports = self._exact.setdefault(group, {})
                ports = flow.remote_port << 16 | flow.local_port
                by_ports.setdefault(ports, set()).add(peer)

    def room(self, precision: Precision) -> float:
        """About how many instructions the flows take, so that nobody tries in vain."""
        flows = [
            peer for ports in self._exact.values() for known in ports.values() for peer in known
        ]
        peers, width = len(set(flows)), len(self.locals[0])
        if precision is Precision.EXACT:
            return (1.5 + 2 * width) * len(flows) + (1.25 if width == 1 else 8) * peers
        if precision is Precision.DIGEST:
            return 1.25 * (len(flows) + peers)
        return 1.25 * len(flows) if precision is Precision.DIGEST_ANY_FRAGMENT else 0

    def match(self, asm: Assembler, precision: Precision) -> None:
        """Decide by OURS, PROTOCOL, PORTS (peer's above ours) and PEER."""
        if precision is Precision.PORT_RANGES:
            asm.add(LD_MEM, PORTS)
            asm.add(AND, 0xFFFF)
            search_ranges(asm, joined(self._local_ports, MAX_RANGES))
            return
        digests = precision is not Precision.EXACT and bool(self._exact)
        by_digest = Label()
        _load_group(asm)
        starts = {group: Label() for group in sorted({*self._exact, *self._wild})}
        for group, start in starts.items():
            asm.jump(JEQ, group, start)
        asm.add(RET, 0)
        for group, start in starts.items():
            asm.place(start)
            self._match_wild(asm, group, by_digest if digests else None)
            if not digests and group in self._exact:
                asm.add(LD_MEM, PORTS)
                exact = self._exact[group]
                search(asm, {ports: _one_of(asm, exact[ports]) for ports in exact})
        if digests:
            asm.place(by_digest)
            self._match_digest(asm)

    def match_fragment(self, asm: Assembler, precision: Precision) -> None:
        """Decide by OURS, PROTOCOL and PEER: a later fragment carries no ports."""
        if precision >= Precision.DIGEST_ANY_FRAGMENT:
            asm.add(RET, ACCEPT)
            return
        peers = {group: self._peers(group) for group in sorted({*self._exact, *self._wild})}
        if precision is Precision.DIGEST:
            self._match_fragment_digest(asm, peers)
            return
        _load_group(asm)
        starts = {group: Label() for group in peers}
        for group, start in starts.items():
            asm.jump(JEQ, group, start)
        asm.add(RET, 0)
        for group, start in starts.items():
            asm.place(start)
            known = peers[group]
            if known is None:
                asm.add(RET, ACCEPT)
                continue
            width = len(self.locals[0])
            by_last: dict[int, set[Words]] = {}
            for peer in known:
                by_last.setdefault(peer[-1], set()).add(peer)
            asm.add(LD_MEM, PEER + width - 1)
            search(
                asm,
                {
                    last: _one_of(asm, same_last) if width > 1 else None
                    for last, same_last in by_last.items()
                },
            )

    def _match_wild(self, asm: Assembler, group: int, miss: Label | None) -> None:
        """Flows of any peer, by local port; goes on to the group's other flows, or to ``miss``."""
        rest = Label()
        wild = self._wild.get(group, {})
        if wild:
            asm.add(LD_MEM, PORTS)
            asm.add(AND, 0xFFFF)
            following = rest if group in self._exact else None
            search(asm, {port: _one_of_wild(asm, wild[port]) for port in wild}, following)
        asm.place(rest)
        if miss is not None and group in self._exact:
            asm.go(miss)

    def _match_digest(self, asm: Assembler) -> None:
        width = len(self.locals[0])
        _load_digest(asm, [PORTS, *range(PEER, PEER + width)])
        found: dict[int, Test | None] = {
            digest(group, ports, *peer): None
            for group, by_ports in self._exact.items()
            for ports, peers in by_ports.items()
            for peer in peers
        }
        search(asm, found)

    def _match_fragment_digest(self, asm: Assembler, peers: dict[int, set[Words] | None]) -> None:
        width = len(self.locals[0])
        _load_group(asm)
        anybody = Label()
        for group, known in peers.items():
            if known is None:
                asm.jump(JEQ, group, anybody)
        _load_digest(asm, range(PEER, PEER + width))
        found: dict[int, Test | None] = {
            digest(group, *peer): None for group, known in peers.items() for peer in known or ()
        }
        search(asm, found)
        asm.place(anybody)
        asm.add(RET, ACCEPT)

    def _peers(self, group: int) -> set[Words] | None:
        """Every peer of the group; None for any."""
        peers = {peer for known in self._exact.get(group, {}).values() for peer in known}
        for known in self._wild.get(group, {}).values():
            for wild in known:
                if wild.peer is None:
                    return None
                peers.add(wild.peer)
        return peers


def words(packed: bytes) -> Words:
    """Big-endian 32-bit numbers, as a BPF load yields them."""
    return struct.unpack(f">{len(packed) // 4}I", packed)


def digest(*values: int) -> int:
    """Multiply and xor; reversible in each value, so one that differs alone makes a difference."""
    result = 0
    for value in values:
        result = (result ^ value) * _ODD & _MASK
    return result


def joined(ports: Iterable[int], limit: int) -> list[tuple[int, int]]:
    """At most ``limit`` ranges that hold all ports, with as little else as can be."""
    ordered = sorted(ports)
    gaps = sorted(range(1, len(ordered)), key=lambda i: ordered[i - 1] - ordered[i])
    cuts = sorted(i for i in gaps[: limit - 1] if ordered[i] - ordered[i - 1] > 1)
    return [
        (ordered[start], ordered[end - 1])
        for start, end in zip([0, *cuts], [*cuts, len(ordered)], strict=True)
    ]


def _load_group(asm: Assembler) -> None:
    asm.add(LDX_MEM, PROTOCOL)
    asm.add(LD_MEM, OURS)
    asm.add(OR_X)


def _load_digest(asm: Assembler, slots: Iterable[int]) -> None:
    _load_group(asm)
    asm.add(MUL, _ODD)
    for slot in slots:
        asm.add(TAX)
        asm.add(LD_MEM, slot)
        asm.add(XOR_X)
        asm.add(MUL, _ODD)


def _one_of(asm: Assembler, peers: Iterable[Words]) -> Test:
    def test(yes: Label, no: Label) -> None:
        *others, last = sorted(peers)
        for peer in others:
            differs = Label()
            _compare_peer(asm, peer, yes, differs)
            asm.place(differs)
        _compare_peer(asm, last, yes, no)

    return test


def _one_of_wild(asm: Assembler, flows: Iterable[_Wild]) -> Test | None:
    if _Wild(None, 0) in flows:
        return None

    def test(yes: Label, no: Label) -> None:
        for flow in flows:
            differs = Label()
            if flow.port:
                asm.add(LD_MEM, PORTS)
                asm.add(RSH, 16)
                asm.jump(JEQ, flow.port, None if flow.peer else yes, differs)
            if flow.peer:
                _compare_peer(asm, flow.peer, yes, differs)
            asm.place(differs)
        asm.go(no)

    return test


def _compare_peer(asm: Assembler, peer: Words, same: Label, differs: Label) -> None:
    # The last word first: it tells hosts of one net apart.
    for place in range(len(peer) - 1, -1, -1):
        asm.add(LD_MEM, PEER + place)
        asm.jump(JEQ, peer[place], same if place == 0 else None, differs)
