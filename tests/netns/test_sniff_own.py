"""netkat's own frames: marked by sniff, written by connect --pcap."""

from __future__ import annotations

import functools
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from netkat.capture.capture_file import CaptureFile
from netkat.capture.sniffer import sniff
from tests.helpers.netns import ROOT, Pair
from tests.helpers.schemas import parsed
from tests.helpers.sniffing import Sniffing
from tests.netns.test_listen_cli import Listener


def serve(pair: Pair, version: int = 4, *, many: bool = False) -> None:
    name = "ncat" if many else "nc"  # nc has one client at a time
    pair.peer.popen([name, f"-{version}", "-l", "-k", "99"], stdout=subprocess.DEVNULL)
    pair.peer.wait_served(99)


def netkat(
    pair: Pair, *arguments: str, data: str, version: int = 4
) -> subprocess.CompletedProcess[str]:
    peer = pair.peer.address(version)
    command = [sys.executable, "-m", "netkat", "connect", *arguments, peer, "99"]
    return pair.host.run(command, input=data, cwd=ROOT, check=False)


def netkat_seen(pair: Pair, seen: Callable[[], object], *arguments: str, version: int = 4) -> int:
    """Sends 11 bytes and stays until ``seen``; its exit code.

    Sniff asks whose a flow is when it sees it: on a busy machine a short one is over by then.
    """
    peer = pair.peer.address(version)
    command = [sys.executable, "-m", "netkat", "connect", *arguments, peer, "99"]
    with pair.host.popen(command, stdin=subprocess.PIPE, cwd=ROOT) as child:
        assert child.stdin is not None
        child.stdin.write(b"from netkat")
        child.stdin.flush()
        seen()
        child.stdin.close()
        return int(child.wait(20))


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
        Sniffing(pair.host, "-i", "eth0", "-ln", "tcp port 99") as watching,
        Sniffing(pair.host, "-i", "eth0", "-l", "--json", "tcp port 99") as objects,
    ):

        def seen() -> None:
            # Without a guard the kernel's RST is in the way: no more than the SYN may come.
            for one in watching, objects:
                one.wait_for("[S]" if step == "none" else "length 11")

        code = netkat_seen(pair, seen, "--guard", step, version=version)
        pair.host.run(["nc", "-N", peer, "99"], input="by the kernel, longer")
        lines, found = watching.end().lines, objects.end().lines
    assert code == 0 or step == "none"  # the kernel's RST is in the way there
    sent = [line for line in lines if f"{peer}.99:" in line]
    ours = [line for line in sent if line.endswith("[netkat]")]
    assert any("[S]" in line for line in ours)
    assert step == "none" or marks(sent, 11) == {True}
    assert marks(sent, 21) == {False}
    assert not [line for line in lines if "[netkat]" in line and line not in sent]
    assert len(ours) == sum(parsed("packet", line).get("sent_by_netkat", False) for line in found)


@pytest.mark.parametrize("guard", ["auto", "cbpf", "none"])
def test_a_claimed_addresss_frames_are_marked(guard: str, pair: Pair) -> None:
    serve(pair)
    with Sniffing(pair.host, "-i", "eth0", "-n", "tcp port 99") as watching:
        seen = functools.partial(watching.wait_for, "[S]" if guard == "none" else "length 11")
        netkat_seen(pair, seen, "--guard", guard, "--claim", "10.99.0.77")
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


MANY = """
import sys, netkat
with netkat.Stack() as stack:
    held = [stack.create_connection((sys.argv[1], 99)) for _ in range(12)]
    for line in sys.stdin:
        for conn in held:
            conn.sendall(line.encode())
"""


def test_many_connections_flows_are_in_the_guards_map(pair: Pair) -> None:
    """The eBPF filter carries no flows; the guard's map has them."""
    serve(pair, many=True)
    told: set[str] = set()
    with Sniffing(pair.host, "-i", "eth0", "-n", "-l", "tcp port 99") as watching:
        child = pair.host.popen(
            [sys.executable, "-c", MANY, pair.peer.ipv4], stdin=subprocess.PIPE, cwd=ROOT
        )
        with child:
            assert child.stdin is not None
            # Whose a flow is, is asked now and then, not with each frame: all are told in the end.
            for _ in range(40):
                child.stdin.write(b"seven!\n")
                child.stdin.flush()
                lines = watching.wait_for("length 7", times=12)
                told |= {line.split()[2] for line in lines if line.endswith("[netkat]")}
                if len(told) == 12:
                    break
                time.sleep(0.1)
            child.stdin.close()
    assert len(told) == 12


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
    assert first.sent_by_netkat and not packets[-1].sent_by_netkat


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
    sent = set()  # which bytes, since a busy machine sends some again
    for packet in packets:
        layers = dict(packet.layers)
        if "payload" in layers and layers["tcp"]["dport"] == 99:
            first = layers["tcp"]["seq"]
            sent |= {n % 2**32 for n in range(first, first + layers["payload"]["length"])}
    assert len(sent) == 5000
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
