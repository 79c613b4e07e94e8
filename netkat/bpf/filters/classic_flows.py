"""The flows of one IP version as a decision tree in classic BPF."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from netkat.bpf.filters.cbpf import (
    AND,
    JEQ,
    JSET,
    LD_IMM,
    LD_MEM,
    LDX_MEM,
    LSH,
    OR_X,
    RET,
    RSH,
    ST,
    TAX,
    Assembler,
    Label,
)
from netkat.bpf.filters.classic_headers import DESTINATION, GROUP, PORTS, PROTOCOL, SOURCE
from netkat.bpf.filters.range_search import Test, search
from netkat.flow import Flow

Words = tuple[int, ...]
"""An address as 32-bit numbers: one for IPv4, four for IPv6."""

_GROUP_SHIFT = 8
"""A group is the number of a local address above the eight bits of a protocol number."""

_FEW_PORTS = 4
"""Ports that are compared one after another, without a search."""


class FlowTree:
    """Emits the look-ups over the flows of one IP version."""

    def __init__(self, asm: Assembler, flows: Iterable[Flow], reject: Label) -> None:
        self._asm, self._reject = asm, reject
        flows = list(flows)
        self.locals = sorted({words(flow.local.packed) for flow in flows})
        numbers = {address: number for number, address in enumerate(self.locals)}
        self._listeners: dict[int, set[int]] = {}
        self._connected: dict[int, dict[Words, set[int]]] = {}
        for flow in flows:
            group = numbers[words(flow.local.packed)] << _GROUP_SHIFT | flow.protocol
            if flow.remote is None:
                self._listeners.setdefault(group, set()).add(flow.local_port)
            else:
                peers = self._connected.setdefault(group, {})
                ports = flow.remote_port << 16 | flow.local_port
                peers.setdefault(words(flow.remote.packed), set()).add(ports)

    def find_local(self, slot: int, found: Label, otherwise: Label) -> None:
        """Set GROUP if the address at ``slot`` of memory is a flow's local address."""
        asm, known = self._asm, Label()
        for number, address in enumerate(self.locals):
            differs = Label()
            compare(asm, address, LD_MEM, slot, differs, step=1)
            asm.add(LD_IMM, number << _GROUP_SHIFT)
            asm.go(known)
            asm.place(differs)
        asm.go(otherwise)
        asm.place(known)
        asm.add(LDX_MEM, PROTOCOL)
        asm.add(OR_X)
        asm.add(ST, GROUP)
        asm.go(found)

    def reverse(self) -> None:
        """Swap the ports, and take the destination for the peer: the packet was sent by a flow."""
        asm = self._asm
        for word in range(len(self.locals[0])):
            asm.add(LD_MEM, DESTINATION + word)
            asm.add(ST, SOURCE + word)
        asm.add(LD_MEM, PORTS)
        asm.add(RSH, 16)
        asm.add(TAX)
        asm.add(LD_MEM, PORTS)
        asm.add(LSH, 16)
        asm.add(OR_X)
        asm.add(ST, PORTS)

    def match(self, fragment: Label) -> None:
        """Accept if a flow has this GROUP, these PORTS (remote above local) and this SOURCE.

        Jump to ``fragment`` with PORTS zero for a later fragment. No flow has port 0.
        """
        asm = self._asm
        asm.add(LD_MEM, PORTS)
        asm.jump(JSET, 0xFFFF, None, self._reject)
        asm.place(fragment)
        asm.add(LD_MEM, GROUP)
        groups = {group: Label() for group in sorted({*self._listeners, *self._connected})}
        for group, start in groups.items():
            asm.jump(JEQ, group, start)
        asm.add(RET, 0)
        for group, start in groups.items():
            asm.place(start)
            self._match_group(group)

    def _match_group(self, group: int) -> None:
        asm, connected = self._asm, Label()
        peers = self._connected.get(group, {})
        if group in self._listeners:
            asm.add(LD_MEM, PORTS)
            asm.add(AND, 0xFFFF)
            search(asm, dict.fromkeys({0, *self._listeners[group]}), connected if peers else None)
        asm.place(connected)
        if peers:
            self._match_peers(peers)

    def _match_peers(self, peers: dict[Words, set[int]]) -> None:
        """Search by the last word of the address: networks share the others."""
        asm, last = self._asm, len(self.locals[0]) - 1
        varying = [place for place in range(last) if len({peer[place] for peer in peers}) > 1]
        some_peer = next(iter(peers))
        for place in range(last):
            if place not in varying:
                asm.add(LD_MEM, SOURCE + place)
                asm.jump(JEQ, some_peer[place], None, self._reject)
        by_last_word: dict[int, list[Words]] = {}
        for peer in sorted(peers):
            by_last_word.setdefault(peer[last], []).append(peer)

        def test_for(same: list[Words]) -> Test:
            def test(yes: Label, no: Label) -> None:
                for peer in same:
                    differs = Label()
                    for place in varying:
                        asm.add(LD_MEM, SOURCE + place)
                        asm.jump(JEQ, peer[place], None, differs)
                    self._ports({0, *peers[peer]}, yes, no)
                    asm.place(differs)
                if varying:
                    asm.go(no)

            return test

        asm.add(LD_MEM, SOURCE + last)
        search(asm, {word: test_for(same) for word, same in by_last_word.items()})

    def _ports(self, ports: set[int], yes: Label, no: Label) -> None:
        asm = self._asm
        asm.add(LD_MEM, PORTS)
        if len(ports) > _FEW_PORTS:
            search(asm, dict.fromkeys(ports))
            return
        *others, last = sorted(ports)
        for value in others:
            asm.jump(JEQ, value, yes)
        asm.jump(JEQ, last, yes, no)


def words(packed: bytes) -> Words:
    """Big-endian 32-bit numbers, as a BPF load yields them."""
    return struct.unpack(f">{len(packed) // 4}I", packed)


def compare(
    asm: Assembler, address: Words, load: int, at: int, differs: Label, *, step: int = 4
) -> None:
    """Go on if this address is at ``at``. Its last word first: networks share the others."""
    for place in reversed(range(len(address))):
        asm.add(load, at + step * place)
        asm.jump(JEQ, address[place], None, differs)
