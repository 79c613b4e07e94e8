"""The prebuilt eBPF instructions are what the sources compile to, and both guards decide alike."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from netkat.bpf.guard.select_mode import attach
from netkat.flow import Flow, IPAddress, Protocol
from tests.helpers.guard_lab import DROP, Tun, Witness, add_filter, witness
from tests.helpers.netns import ROOT, namespace

BPF = ROOT / "netkat" / "bpf"
SYSTEM_PYTHON = "/usr/bin/python3"

OURS: dict[int, IPAddress] = {4: IPv4Address("192.0.2.1"), 6: IPv6Address("2001:db8::1")}
PEER: dict[int, IPAddress] = {4: IPv4Address("198.51.100.7"), 6: IPv6Address("2001:db8:1::7")}
STRANGER: dict[int, IPAddress] = {4: IPv4Address("198.51.100.8"), 6: IPv6Address("2001:db8:1::8")}
FLOWS = [
    *(Flow(p, OURS[v], 1000, PEER[v], 80) for p in Protocol for v in (4, 6)),
    *(Flow(Protocol.TCP, OURS[v], 2000) for v in (4, 6)),
    # What stands in the local address, for a header length that points there.
    Flow(Protocol.TCP, OURS[4], 0x0201),
]


def compile_check(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SYSTEM_PYTHON, folder / "compile.py", "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_shipped_instructions_are_what_bcc_makes_of_the_source() -> None:
    done = compile_check(BPF)
    assert done.returncode == 0, done.stderr


def test_the_comparison_sees_a_change_of_the_source(tmp_path: Path) -> None:
    copy = tmp_path / "bpf"
    shutil.copytree(BPF, copy)
    source = copy / "filters" / "flow_lookup.h"
    source.write_text(
        source.read_text().replace("#define VLAN_ID 0x0fff", "#define VLAN_ID 0x00ff")
    )
    done = compile_check(copy)
    assert done.returncode == 1
    for name in ("ingress", "socket_filter"):
        assert f"{name}.insns is not what" in done.stderr


def belongs(ethertype: int, data: bytes) -> bool:
    """What both programs should say, written down once more."""
    reader = {0x0800: transport4, 0x86DD: transport6}.get(ethertype)
    found = reader(data) if reader else None
    if found is None:
        return False
    version, protocol, source, destination, at = found
    if len(data) < at + 4:
        return False
    sport, dport = struct.unpack_from("!HH", data, at)
    return any(
        (flow.version, flow.protocol, flow.local.packed, flow.local_port)
        == (version, protocol, destination, dport)
        and (flow.remote is None or (flow.remote.packed, flow.remote_port) == (source, sport))
        for flow in FLOWS
    )


Transport = tuple[int, int, bytes, bytes, int]


def transport4(data: bytes) -> Transport | None:
    if len(data) < 20 or data[0] >> 4 != 4 or data[0] & 15 < 5:
        return None
    if struct.unpack_from("!H", data, 6)[0] & 0x1FFF:
        return None
    return 4, data[9], data[12:16], data[16:20], (data[0] & 15) * 4


def transport6(data: bytes) -> Transport | None:
    if len(data) < 40 or data[0] >> 4 != 6:
        return None
    kind, at = data[6], 40
    for _ in range(6):
        if kind in (6, 17):
            break
        if len(data) < at + 4:
            return None
        after, length, third, fourth = data[at : at + 4]
        if kind == 44:
            if (third << 8 | fourth) & 0xFFF8:
                return None
            step = 8
        elif kind in (0, 60) or (kind == 43 and fourth == 0):
            step = (length + 1) * 8
        else:
            return None
        kind, at = after, at + step
    if kind not in (6, 17):
        return None
    return 6, kind, data[8:24], data[24:40], at


def mostly(usual: list[int], top: int) -> st.SearchStrategy[int]:
    """One of the usual values, one time in twenty any."""
    usually = st.sampled_from(usual)
    return st.integers(0, 19).flatmap(lambda n: usually if n < 19 else st.integers(0, top))


@st.composite
def packets(draw: st.DrawFn) -> tuple[int, bytes]:
    """An EtherType and a packet: often one of ours, often nearly, cut anywhere."""
    version = draw(st.sampled_from([4, 6]))
    source = draw(st.sampled_from([PEER] * 7 + [STRANGER]))[version].packed
    destination = draw(st.sampled_from([OURS] * 9 + [STRANGER]))[version].packed
    protocol = draw(mostly([6, 17], 255))
    ports = struct.pack("!HH", draw(mostly([80], 65535)), draw(mostly([1000, 1000, 2000], 65535)))
    nibble = draw(mostly([version] * 5, 15))
    if version == 4:
        words = draw(mostly([5, 5, 6, 15], 15))
        fragment = draw(mostly([0, 0x4000, 0x2000], 65535))
        data = struct.pack("!BBHHHBBH", nibble << 4 | words, 0, 0, 0, fragment, 64, protocol, 0)
        data += source + destination + draw(st.binary(min_size=40, max_size=40))[: words * 4 - 20]
    else:
        chain = draw(st.lists(extensions(), max_size=3) | st.lists(extensions(), max_size=8))
        kinds = [kind for kind, _ in chain] + [protocol]
        data = struct.pack("!IHBB", nibble << 28, 0, kinds[0], 64) + source + destination
        for (_, body), after in zip(chain, kinds[1:], strict=True):
            data += bytes([after]) + body
    data += ports + draw(st.binary(max_size=8))
    cut = draw(mostly([len(data)], len(data) - 1)) or 1
    ethertype = draw(mostly([0x0800 if version == 4 else 0x86DD] * 9, 65535))
    return ethertype, data[:cut]


@st.composite
def extensions(draw: st.DrawFn) -> tuple[int, bytes]:
    """A header's number and what follows its first byte."""
    kind = draw(mostly([0, 43, 44, 60, 0, 60], 255))
    length = draw(st.integers(0, 2))
    size = 8 if kind == 44 else (length + 1) * 8
    start = bytes([length, draw(mostly([0], 255)), draw(mostly([0, 0, 1], 255))])
    return kind, (start + bytes(size))[: size - 1]


@dataclass
class Bench:
    """A header-less link with one guard, and behind it a program that sees what it lets go on."""

    tun: Tun
    behind: Witness

    def lets_go_on(self, ethertype: int, data: bytes) -> bool:
        before = self.behind.count
        self.tun.write(ethertype, data)
        return self.behind.count == before + 1


@pytest.fixture(scope="module")
def benches() -> Iterator[dict[str, Bench]]:
    """Both programs, each on a link of its own. The witness drops all, so the kernel sees none."""
    made = {}
    with ExitStack() as undo:
        space = undo.enter_context(namespace("nkg"))
        for number, step in enumerate(("clsact", "cbpf")):
            tun = Tun(space, f"tun{number}", 70 + number)
            undo.callback(tun.close)
            behind = undo.enter_context(witness(DROP))
            index = tun.link.index
            space.call(partial(add_filter, index, behind.program.fd, pref=2))
            guard = space.call(partial(attach, tun.link, step, flows=FLOWS))
            undo.callback(guard.close)
            made[step] = Bench(tun, behind)
        yield made


GOOD = struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, 64, 6, 0) + PEER[4].packed + OURS[4].packed


def chained(count: int) -> bytes:
    """An IPv6 packet of ours behind that many extension headers."""
    kinds = [60] * count + [6]
    data = struct.pack("!IHBB", 6 << 28, 0, kinds[0], 64) + PEER[6].packed + OURS[6].packed
    return data + b"".join(bytes([kind]) + bytes(7) for kind in kinds[1:]) + b"\0\x50\x03\xe8"


@given(packets())
@example((0x0800, GOOD + struct.pack("!HH", 80, 1000)))
@example((0x0800, GOOD + struct.pack("!HHB", 80, 1000, 0)[:3]))
@example((0x0800, GOOD[:10]))
@example((0x0800, b"\x44" + GOOD[1:] + bytes(4)))
@example((0x86DD, chained(6)))
@example((0x86DD, chained(7)))
@settings(
    max_examples=700,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_both_programs_decide_as_written_down(
    benches: dict[str, Bench], given_packet: tuple[int, bytes]
) -> None:
    ours = belongs(*given_packet)
    for step, bench in benches.items():
        assert bench.lets_go_on(*given_packet) == (not ours), step


def test_the_packets_made_up_are_of_both_kinds() -> None:
    """A fuzz that never meets a packet of ours would prove nothing."""
    kinds = {True: 0, False: 0}

    @given(packets())
    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    def count(given_packet: tuple[int, bytes]) -> None:
        kinds[belongs(*given_packet)] += 1

    count()
    assert min(kinds.values()) > 30
