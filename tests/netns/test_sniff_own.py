"""netkat's own frames: marked by sniff, written by connect --pcap."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from netkat.capture.reader import CaptureFile
from tests.helpers.netns import ROOT, Pair
from tests.helpers.sniffing import Sniffing


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
    return pair.host.run(command, input=data, cwd=ROOT)


@pytest.mark.parametrize("version", [4, 6])
def test_what_netkat_sends_is_marked_and_the_kernels_is_not(version: int, pair: Pair) -> None:
    serve(pair, version)
    peer = pair.peer.address(version)
    with Sniffing(pair.host, "-i", "eth0", "-n", "tcp port 99") as watching:
        netkat(pair, data="from netkat", version=version)
        pair.host.run(["nc", "-N", peer, "99"], input="by the kernel, longer")
        said = watching.end()
    sent = [line for line in said.lines if f"{peer}.99:" in line]
    ours = [line for line in sent if line.endswith("[netkat]")]
    assert any("length 11" in line for line in ours)
    assert any("[S]" in line for line in ours)
    assert not any("length 21" in line for line in ours)
    assert any("length 21" in line for line in sent)
    assert not [line for line in said.lines if "[netkat]" in line and line not in sent]


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
