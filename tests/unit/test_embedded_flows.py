"""The flows that a packet filter carries behind its last return."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from random import Random

import pytest

from netkat.bpf.filters.cbpf import MAX_INSTRUCTIONS, RET, Instruction
from netkat.bpf.filters.classic_filter import BLOCK_ALL, classic_filter
from netkat.bpf.filters.embedded_flows import embed, flows_in
from netkat.flow import Flow, Protocol

LOCAL, PEER = ip_address("10.0.0.1"), ip_address("192.0.2.7")
LOCAL6, PEER6 = ip_address("fd00::1"), ip_address("2001:db8::7")
FLOWS = [
    Flow(Protocol.TCP, LOCAL, 40000, PEER, 80),
    Flow(Protocol.UDP, LOCAL6, 40001, PEER6, 53),
    Flow(Protocol.TCP, LOCAL, 8080),
    Flow(Protocol.UDP, LOCAL6, 65535),
]


def packed(program: list[Instruction]) -> bytes:
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def ends(flow: Flow) -> tuple[int, int, bytes, int, bytes, int]:
    nobody = bytes(len(flow.local.packed))
    remote = nobody if flow.remote is None else flow.remote.packed
    return (
        flow.version, flow.protocol, flow.local.packed, flow.local_port, remote, flow.remote_port,
    )  # fmt: skip


@pytest.mark.parametrize("count", range(len(FLOWS) + 1))
def test_what_was_written_is_read(count: int) -> None:
    flows = FLOWS[:count]
    program = embed(classic_filter(dict.fromkeys(flows), ethernet=True), flows)
    assert set(flows_in(packed(program))) == {ends(flow) for flow in flows}


def test_it_changes_no_verdict_and_is_short() -> None:
    plain = classic_filter(dict.fromkeys(FLOWS), ethernet=True)
    program = embed(plain, FLOWS)
    assert program[: len(plain)] == plain
    assert plain[-1].code == RET  # nothing runs on into it
    assert len(program) - len(plain) == 2 * 4 + 2 * 10 + 2


def test_the_last_flows_are_written_where_there_is_no_room_for_all() -> None:
    flows = [Flow(Protocol.TCP, LOCAL, port, PEER, 80) for port in range(1, 2000)]
    program = embed([Instruction(RET, 0, 0, 0)] * 3000, flows)
    assert len(program) <= MAX_INSTRUCTIONS
    found = {flow[3] for flow in flows_in(packed(program))}
    assert found == set(range(2000 - len(found), 2000)) and len(found) > 200
    full = [Instruction(RET, 0, 0, 0)] * MAX_INSTRUCTIONS
    assert embed(full, flows) == full


def test_other_programs_say_nothing() -> None:
    """Others' filters, cut ones, and bytes that are none."""
    random = Random(7)
    program = packed(embed(classic_filter(dict.fromkeys(FLOWS), ethernet=True), FLOWS))
    assert list(flows_in(packed(BLOCK_ALL))) == list(flows_in(b"")) == []
    assert list(flows_in(program[:-8])) == []
    for length in range(0, len(program), 3):
        list(flows_in(program[-length:]))
        list(flows_in(random.randbytes(length) + program[-16:]))
        damaged = bytearray(program)
        damaged[random.randrange(len(damaged))] ^= 0xFF
        list(flows_in(bytes(damaged)))
