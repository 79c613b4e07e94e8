"""What goes wrong in the middle is one line, and what was captured is kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netkat.capture.capture_file import CaptureFile
from netkat.capture.capture_writer import CaptureWriter
from netkat.capture.pcap import PcapFormat
from tests.helpers.netns import ROOT, Pair, wait_usable
from tests.helpers.sniff_corpus import packets
from tests.helpers.sniffing import Sniffing, sniff_once


def ping(pair: Pair, count: int = 2, size: int = 56) -> None:
    pair.host.run(["ping", "-q", "-c", str(count), "-i", "0.002", "-s", str(size), pair.peer.ipv4])


def complaint(err: str) -> list[str]:
    return [line for line in err.splitlines() if line.startswith(("netkat:", "  next:"))]


def test_capture_ends_when_the_interface_is_deleted(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    with (
        Sniffing(pair.host, "-i", "eth0", "-n", "icmp") as lines,
        Sniffing(pair.host, "-i", "eth0", "-w", str(path), "icmp") as file,
    ):
        ping(pair)
        pair.host.ip("link del eth0")
        said, written = lines.end(None), file.end(None)
    for one in (said, written):
        assert one.code == 1
        assert complaint(one.err)[0] == "netkat: eth0 was deleted during the capture"
        assert one.counted("captured") == 4
    assert len(said.lines) == 4
    with CaptureFile(str(path)) as capture:
        assert len(list(capture.packets)) == 4


def test_capture_continues_when_the_link_goes_down_and_up(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    with (
        Sniffing(pair.host, "-i", "eth0", "-n", "-c", "8", "icmp") as lines,
        Sniffing(pair.host, "-i", "eth0", "-c", "8", "-w", str(path), "icmp") as file,
    ):
        ping(pair)
        pair.host.ip("link set eth0 down")
        time.sleep(0.3)
        pair.host.ip("link set eth0 up")
        wait_usable(pair.host, "eth0")
        ping(pair)
        shown, written = lines.end(None), file.end(None)
    for one in (shown, written):
        assert (one.code, complaint(one.err)) == (0, [])
    assert len(shown.lines) == 8
    with CaptureFile(str(path)) as capture:
        assert len(list(capture.packets)) == 8


@pytest.mark.parametrize("name", ["x.pcap", "x.pcapng"])
@pytest.mark.parametrize("extra", [[], ["-C", "100000"]])
def test_a_full_disk(name: str, extra: list[str], pair: Pair, tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "nks", place], check=True)
    try:
        path = place / name
        with Sniffing(pair.host, "-i", "eth0", "-w", str(path), *extra, "icmp") as watching:
            ping(pair, 100, 1000)
            said = watching.end(None)
        assert said.code == 1
        assert complaint(said.err) == [
            f"netkat: writing {path} failed: No space left on device",
            "  next: packets written before the error are kept",
        ]
        with CaptureFile(str(path)) as capture:
            kept = list(capture.packets)
        assert 30 < len(kept) < 100
        assert said.counted("captured") == len(kept)
        assert {packet.length for packet in kept} == {1042}
        read = subprocess.run(["tshark", "-r", path], capture_output=True, text=True)
        assert read.returncode == 0 and len(read.stdout.splitlines()) == len(kept)
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("arguments", [["-n"], ["-w", "-"], ["--json"]])
def test_nobody_reads_any_more(arguments: list[str], pair: Pair) -> None:
    reader, writer = os.pipe()
    with Sniffing(pair.host, "-i", "eth0", *arguments, "icmp", stdout=writer) as watching:
        os.close(writer)
        ping(pair)
        time.sleep(0.3)
        os.read(reader, 10)
        os.close(reader)
        ping(pair, 5)
        said = watching.end(None)
    assert said.code == 1
    assert len(complaint(said.err)) <= 2
    assert "closed" in complaint(said.err)[0]
    assert said.counted("captured") >= 4


def test_a_file_that_cannot_be_made(pair: Pair, tmp_path: Path) -> None:
    for path in ("/nonexistent/x.pcap", str(tmp_path), "/proc/x"):
        said = sniff_once(pair.host, "-i", "eth0", "-w", path)
        assert said.code == 2
        assert complaint(said.err)[0].startswith(f"netkat: cannot write {path}: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-i", "nosuch0"], "no interface nosuch0"),
        (["-i", "99"], "no interface with number 99"),
        (["-i", "eth0", "tcp prot 80"], "at 'prot' (character 5)"),
        (["-i", "eth0", "-c", "x"], "-c: invalid number 'x'"),
        (["-i", "eth0", "-Q", "up"], "-Q: invalid direction 'up' (in, out or inout)"),
        (["-i", "eth0", "-W", "3"], "-W requires -w"),
        (
            ["-i", "eth0", "-w", "-", "--json"],
            "-w - cannot be used with --print, --json or --stats",
        ),
        (["-i", "eth0", "-y", "NULL"], "eth0 is captured as EN10MB"),
        (["-i", "eth0", "-B", "9999999999"], "-B: invalid number '9999999999'"),
        (["-r", "/nonexistent"], "/nonexistent: No such file or directory"),
        (["-r", "/etc/passwd"], "not a capture file"),
        (["-r", "/etc"], "/etc: Is a directory"),
        (["-r", "x", "-i", "eth0"], "-i cannot be used with -r"),
        (["-F", "/nonexistent", "-i", "eth0"], "-F /nonexistent: No such file"),
        (["-E", "spi"], "-E: not supported (ESP decryption)"),
        (["-z", "gzip"], "-z: not supported (commands after a rotation)"),
    ],
)
def test_wrong_words_are_one_line_and_code_2(arguments: list[str], words: str, pair: Pair) -> None:
    said = sniff_once(pair.host, *arguments)
    assert said.code == 2
    assert words in complaint(said.err)[0]
    assert len(complaint(said.err)) <= 2
    assert said.out == b""


def test_without_the_right_to(pair: Pair) -> None:
    drop = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"]
    done = pair.host.run(
        [*drop, sys.executable, "-m", "netkat", "sniff", "-i", "eth0"], check=False, cwd=ROOT
    )
    assert done.returncode == 2
    assert complaint(done.stderr)[0] == "netkat: watching an interface needs CAP_NET_RAW"


def test_a_torn_file_is_shown_as_far_as_it_goes(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    writer = CaptureWriter(str(path), PcapFormat(1, 262144))
    writer.packets([packet for name, packet in packets() if name.startswith("tcp-")])
    writer.close()
    data = path.read_bytes()
    path.write_bytes(data[:-3])
    whole = sum(1 for name, _ in packets() if name.startswith("tcp-"))
    said = sniff_once(pair.host, "-n", "-r", str(path))
    assert said.code == 1
    assert len(said.lines) == whole - 1
    assert "ends in the middle of a packet" in complaint(said.err)[0]
    counted = sniff_once(pair.host, "--count", "-r", str(path))
    assert counted.lines == [f"{whole - 1} packets"]


def test_rotation_of_a_live_capture(pair: Pair, tmp_path: Path) -> None:
    with Sniffing(
        pair.host, "-i", "eth0", "-w", str(tmp_path / "x.pcap"), "-C", "1k", "icmp"
    ) as watching:
        ping(pair, 20)
        said = watching.end()
    files = sorted(tmp_path.iterdir())
    assert len(files) > 3
    found = 0
    for path in files:
        with CaptureFile(str(path)) as capture:
            found += len(list(capture.packets))
    assert found == said.counted("captured") == 40


def test_timed_files_end_it(pair: Pair, tmp_path: Path) -> None:
    name = str(tmp_path / "x-%s.pcapng")
    with Sniffing(pair.host, "-i", "eth0", "-w", name, "-G", "1", "-W", "2", "icmp") as watching:
        end = time.monotonic() + 10
        while watching.child.poll() is None and time.monotonic() < end:
            ping(pair, 1)
            time.sleep(0.2)
        said = watching.end(None)
    assert said.code == 0
    assert len(list(tmp_path.iterdir())) == 2


def test_a_signal_ends_it_in_every_state(pair: Pair) -> None:
    for arguments in (["-i", "eth0"], ["-i", "eth0", "--stats"], ["-i", "eth0", "--drops"]):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with Sniffing(pair.host, *arguments, "udp port 7") as watching:
                began = time.monotonic()
                said = watching.end(number)
                assert time.monotonic() - began < 15
                assert said.code == 0
