"""netkat's own frames: marked by sniff, written by connect --pcap."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from netkat.capture.reader import CaptureFile
from netkat.capture.sniffer import sniff
from tests.helpers.netns import ROOT, Pair
from tests.helpers.sniffing import Sniffing
from tests.netns.test_listen_cli import Listener


def serve(pair: Pair, version: int = 4) -> None:
    pair.peer.popen(["nc", f"-{version}", "-l", "-k", "99"], stdout=subprocess.DEVNULL)
    end = time.monotonic() + 5
    while ":99" not in pair.peer.run(["ss", "-ltn"]).stdout:
        assert time.monotonic() < end
        time.sleep(0.02)


def netkat(
    pair: Pair, *arguments: str, data: str, version: int = 4
) -> subprocess.CompletedProcess[str]:
    peer = pair.peer.address(version)
    command = [sys.executable, "-m", "netkat", "connect", *arguments, peer, "99"]
    return pair.host.run(command, input=data, cwd=ROOT, check=False)


def marks(lines: list[str], payload: int) -> set[bool]:
    """Whether the lines of segments and datagrams with so many bytes carry the mark."""
    return {line.endswith("[netkat]") for line in lines if f"length {payload}" in line}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("step", ["tcx", "clsact", "cbpf", "socket", "none"])
def test_what_netkat_sends_is_marked_and_the_kernels_is_not(
    step: str, version: int, pair: Pair
) -> None:
    """Whatever the guard; and so in JSON."""
    serve(pair, version)
    peer = pair.peer.address(version)
    with (
        Sniffing(pair.host, "-i", "eth0", "-n", "tcp port 99") as watching,
        Sniffing(pair.host, "-i", "eth0", "--json", "tcp port 99") as objects,
    ):
        done = netkat(pair, "--guard", step, data="from netkat", version=version)
        pair.host.run(["nc", "-N", peer, "99"], input="by the kernel, longer")
        lines, found = watching.end().lines, objects.end().lines
    assert done.returncode == 0 or step == "none"  # the kernel's RST is in the way there
    sent = [line for line in lines if f"{peer}.99:" in line]
    ours = [line for line in sent if line.endswith("[netkat]")]
    assert any("[S]" in line for line in ours)
    assert step == "none" or marks(sent, 11) == {True}
    assert marks(sent, 21) == {False}
    assert not [line for line in lines if "[netkat]" in line and line not in sent]
    assert len(ours) == sum(json.loads(line).get("ours", False) for line in found)


@pytest.mark.parametrize("guard", ["auto", "cbpf", "none"])
def test_a_claimed_addresss_frames_are_marked(guard: str, pair: Pair) -> None:
    serve(pair)
    with Sniffing(pair.host, "-i", "eth0", "-n", "tcp port 99") as watching:
        netkat(pair, "--guard", guard, "--claim", "10.99.0.77", data="from netkat")
        lines = watching.end().lines
    sent = [line for line in lines if "IP 10.99.0.77" in line]
    assert sent and all(line.endswith("[netkat]") for line in sent)


@pytest.mark.parametrize("step", ["tcx", "cbpf"])
def test_a_listeners_and_datagrams_are_marked(step: str, pair: Pair) -> None:
    listener = Listener(pair, "-u", "--guard", step, "--reply", "echo", pair.host.ipv4, 7300)
    try:
        with Sniffing(pair.host, "-i", "eth0", "-n", "udp") as watching:
            pair.peer.run(["nc", "-u", "-w1", pair.host.ipv4, "7300"], input="echo")
            lines = watching.end().lines
    finally:
        listener.child.kill()
        listener.child.communicate()
    assert [line.endswith("[netkat]") for line in lines] == [False, True]


def test_many_connections_flows_are_in_the_guards_map(pair: Pair) -> None:
    """From the eighth flow on the wire's filter is an eBPF program, which says nothing."""
    serve(pair)
    code = f"""
import netkat
with netkat.Stack() as stack:
    for _ in range(12):
        with stack.create_connection(("{pair.peer.ipv4}", 99)) as conn:
            conn.sendall(b"seven b")
"""
    with Sniffing(pair.host, "-i", "eth0", "-n", "tcp port 99") as watching:
        pair.host.run([sys.executable, "-c", code], cwd=ROOT)
        lines = watching.end().lines
    assert sum("length 7" in line for line in lines) == 12
    assert marks(lines, 7) == {True}


def test_programs_are_told_as_well(pair: Pair) -> None:
    serve(pair)
    with sniff("tcp dst port 99", interface="eth0", netns=pair.host.name) as watching:
        # Who a frame is from is asked while somebody iterates.
        with ThreadPoolExecutor() as pool:
            sending = pool.submit(netkat, pair, "--guard", "cbpf", data="from netkat")
            first = next(watching)
            sending.result()
        pair.host.run(["nc", "-N", pair.peer.ipv4, "99"], input="by the kernel")
        packets = [first]
        while len(packets[-1].raw) != 66 + len("by the kernel"):
            packets.append(next(watching))
    assert first.ours and not packets[-1].ours


@pytest.mark.parametrize("name", ["own.pcapng", "own.pcap"])
def test_a_connections_frames_in_a_file(name: str, pair: Pair, tmp_path: Path) -> None:
    serve(pair)
    path = tmp_path / name
    netkat(pair, "--pcap", str(path), data="x" * 5000)
    with CaptureFile(str(path)) as capture:
        packets = list(capture.packets)
    lines = [packet.summary() for packet in packets]
    assert any("Flags [S]," in line for line in lines)
    assert any("Flags [S.]," in line for line in lines)
    sent = sum(
        int(line.rpartition("length ")[2].split()[0].rstrip(":"))
        for line in lines
        if f"{pair.peer.ipv4}.99: Flags" in line
    )
    assert sent == 5000
    shown = subprocess.run(["tshark", "-nr", path], capture_output=True, text=True, check=True)
    assert len(shown.stdout.splitlines()) == len(packets)


def test_a_file_that_cannot_be_made_stops_it_before_anything_is_sent(pair: Pair) -> None:
    command = [
        sys.executable,
        "-m",
        "netkat",
        "connect",
        "--pcap",
        "/nonexistent/x",
        "10.99.0.2",
        "9",
    ]
    done = pair.host.run(command, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.startswith("netkat: cannot write /nonexistent/x: No such file")
