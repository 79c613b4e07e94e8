"""The prebuilt instructions, the keys of the map, and what is sent to bpf(2)."""

from __future__ import annotations

import errno
import os
import resource
import struct
from ipaddress import ip_address

import pytest

from netkat.bpf import bpf_syscall, prebuilt
from netkat.bpf.filters import flow_key
from netkat.bpf.program import verifier_reason
from netkat.errors import KernelTooOld
from netkat.flow import Flow, Protocol

FOUR = Flow(Protocol.TCP, ip_address("192.0.2.1"), 40000, ip_address("198.51.100.7"), 80)
SIX = Flow(Protocol.UDP, ip_address("2001:db8::1"), 53, ip_address("2001:db8::2"), 5353)


def test_keys_have_the_layout_of_flow_lookup_h() -> None:
    assert flow_key.key_of(FOUR) == (
        bytes([192, 0, 2, 1])
        + bytes(12)
        + bytes([198, 51, 100, 7])
        + bytes(12)
        + b"\x9c\x40"
        + b"\x00\x50"
        + bytes([6, 4])
        + bytes(2)
    )
    assert flow_key.key_of(SIX) == (
        SIX.local.packed
        + b"\x20\x01\x0d\xb8"
        + bytes(11)
        + b"\x02"
        + b"\x00\x35"
        + b"\x14\xe9"
        + bytes([17, 6])
        + bytes(2)
    )


def test_a_listeners_key_has_an_empty_peer() -> None:
    listener = Flow(Protocol.TCP, FOUR.local, FOUR.local_port)
    assert flow_key.key_of(listener)[16:32] == bytes(16)
    assert flow_key.key_of(listener)[34:36] == bytes(2)


def test_families_cannot_be_mistaken_for_each_other() -> None:
    four = Flow(Protocol.TCP, ip_address("32.1.13.184"), 1)
    six = Flow(Protocol.TCP, ip_address("2001:db8::"), 1)
    assert four.local.packed == six.local.packed[:4]
    assert flow_key.key_of(four) != flow_key.key_of(six)


@pytest.mark.parametrize("name", ["ingress", "socket_filter"])
def test_instructions_take_the_maps_descriptor_and_end(name: str) -> None:
    code = prebuilt.instructions(name, 0x12345678, ethernet=True)
    words = [struct.unpack_from("<BBhi", code, at) for at in range(0, len(code), 8)]
    loads = [word for word in words if word[0] == 0x18 and word[1] >> 4 == 1]
    assert len(loads) >= 3
    assert {word[3] for word in loads} == {0x12345678}
    assert words[-1][0] in (0x95, 0x05)  # exit, or a jump to it
    assert prebuilt.instructions(name, 0, ethernet=True) != code


def test_the_socket_filter_takes_the_offset_of_the_network_header() -> None:
    name = "socket_filter"
    on_ethernet, bare = (
        [struct.unpack_from("<i", code, at)[0] for at in range(4, len(code), 8)]
        for code in (prebuilt.instructions(name, 3, ethernet=header) for header in (True, False))
    )
    changed = {pair for pair in zip(on_ethernet, bare, strict=True) if pair[0] != pair[1]}
    assert changed == {(14, 0)}


def test_a_big_endian_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.byteorder", "big")
    with pytest.raises(KernelTooOld, match="little-endian"):
        prebuilt.instructions("ingress", 3, ethernet=True)


@pytest.mark.parametrize(
    ("machine", "pointer", "number"),
    [("x86_64", 8, 321), ("aarch64", 8, 280), ("x86_64", 4, 357), ("aarch64", 4, 386)],
)
def test_the_calls_number_by_machine(machine: str, pointer: int, number: int) -> None:
    assert bpf_syscall.syscall_number(machine, pointer) == number


def test_an_unknown_machine_is_told() -> None:
    with pytest.raises(KernelTooOld, match="no known number on pdp11 with 64-bit Python"):
        bpf_syscall.syscall_number("pdp11", 8)


def test_the_memory_limit_is_raised_for_the_map_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a kernel before 5.11 has it: EPERM as long as the limit is low."""
    limits = [(65536, 65536)]
    calls = []

    def setrlimit(which: int, both: tuple[int, int]) -> None:
        assert which == resource.RLIMIT_MEMLOCK
        limits.append(both)

    def bpf(command: bpf_syscall.Command, attributes: bytearray) -> int:
        calls.append(limits[-1])
        if limits[-1][0] != resource.RLIM_INFINITY:
            raise OSError(errno.EPERM, "too much locked memory")
        return os.open(os.devnull, os.O_RDONLY)

    monkeypatch.setattr(resource, "getrlimit", lambda which: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    monkeypatch.setattr(bpf_syscall, "bpf", bpf)
    bpf_syscall.HashMap("name", 4, 8, 1).close()
    assert calls == [(65536, 65536), (resource.RLIM_INFINITY,) * 2]
    assert limits[-1] == (65536, 65536)


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (
            "0: R1=ctx() R10=fp0\n0: (b7) r0 = 0\nR1 !read_ok\n"
            "processed 2 insns (limit 1000000) max_states_per_insn 0\n",
            "R1 !read_ok",
        ),
        (
            "invalid bpf_context access off=333 size=4\nverification time 9 usec\n"
            "stack depth 0\nprocessed 1 insns\n\n",
            "invalid bpf_context access off=333 size=4",
        ),
        ("processed 1 insns\n", "processed 1 insns"),
        ("", ""),
    ],
)
def test_the_telling_line_of_a_verifiers_log(log: str, line: str) -> None:
    assert verifier_reason(log) == line
