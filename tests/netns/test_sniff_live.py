"""Watching real traffic: lines, files, interfaces, directions, counts."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from netkat.capture.capture_file import CaptureFile
from netkat.capture.packet import Packet
from tests.helpers.netns import ROOT, Pair
from tests.helpers.schemas import parsed
from tests.helpers.sniff_frames import ether, ip4, udp
from tests.helpers.sniffing import Sniffing, sniff_once
from tests.helpers.waiting import wait_until

CLOCK = slice(len("12:34:56.123456 "), None)


def ping(pair: Pair, count: int = 2) -> None:
    pair.host.run(["ping", "-c", str(count), "-i", "0.02", "-W", "1", pair.peer.ipv4])


def read(path: Path) -> list[Packet]:
    with CaptureFile(str(path)) as file:
        return list(file.packets)


def test_lines_are_those_of_tcpdump_at_the_same_moment(pair: Pair, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.pcap"
    dump = pair.host.popen(
        [
            "tcpdump",
            "-Z",
            "root",
            "-i",
            "eth0",
            "-w",
            theirs,
            "-U",
            "--nano",
            "--immediate-mode",
            "tcp or icmp",
        ],
        stderr=subprocess.PIPE,
    )
    assert dump.stderr is not None
    while b"listening" not in dump.stderr.readline():
        pass
    server = pair.peer.popen(["nc", "-l", "-N", "99"], stdout=subprocess.DEVNULL)
    with Sniffing(pair.host, "-i", "eth0", "-n", "--nano", "tcp or icmp") as watching:
        ping(pair)
        pair.host.run(["nc", "-N", pair.peer.ipv4, "99"], input="x" * 100_000)
        server.wait(20)
        said = watching.end()
    dump.send_signal(signal.SIGINT)
    dump.communicate(timeout=10)
    printed = subprocess.run(
        ["tcpdump", "-n", "--nano", "-r", theirs], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    # Each of two sockets may take the time for itself, so lines are compared behind it.
    after = slice(len("12:34:56.123456789 "), None)
    ours = [line.partition(" [GSO/GRO")[0][after] for line in said.lines]
    assert len(ours) > 10
    assert ours == [line[after] for line in printed]
    assert said.code == 0
    assert said.counted("captured") == said.counted("received by filter") == len(ours)
    assert said.counted("dropped by kernel") == 0
    assert "[GSO/GRO, segments of 1448]" in said.out.decode()


@pytest.mark.parametrize("name", ["x.pcap", "x.pcapng"])
def test_a_file_holds_what_passed(name: str, pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / name
    with Sniffing(pair.host, "-i", "eth0", "-w", str(path), "icmp") as watching:
        ping(pair, 3)
        said = watching.end(signal.SIGTERM)
    assert (said.code, said.counted("captured"), said.out) == (0, 6, b"")
    seen = json.loads(
        subprocess.run(
            ["tshark", "-n", "-r", path, "-T", "json"], capture_output=True, check=True
        ).stdout
    )
    layers = [one["_source"]["layers"] for one in seen]
    assert [one["icmp"]["icmp.type"] for one in layers] == ["8", "0"] * 3
    if name == "x.pcapng":
        assert {
            one["frame"]["frame.interface_id_tree"]["frame.interface_name"] for one in layers
        } == {"eth0"}
        packets = read(path)
        assert [packet.direction for packet in packets] == ["out", "in"] * 3
        info = subprocess.run(["capinfos", path], capture_output=True, text=True).stdout
        assert "Number of stat entries = 1" in info and "Filter string = icmp" in info


def test_a_pcapng_file_counts_where_nothing_came_from(pair: Pair, tmp_path: Path) -> None:
    """An interface that was silent, and any: its packets stand under interfaces of their own."""
    pair.host.ip("link set lo up")
    for interfaces, names in (("any", ["any", "eth0"]), ("lo,eth0", ["lo", "eth0"])):
        path = tmp_path / f"{interfaces}.pcapng"
        with Sniffing(pair.host, "-i", interfaces, "-w", str(path), "icmp") as watching:
            ping(pair, 1)
            assert watching.end().counted("captured") == 2
        info = subprocess.run(["capinfos", path], capture_output=True, text=True).stdout
        lines = [line.strip() for line in info.splitlines()]
        assert [line.partition("Name = ")[2] for line in lines if "Name = " in line] == names
        counted = [line[-1] for line in lines if line.startswith("Number of stat entries")]
        assert counted == (["1", "0"] if interfaces == "any" else ["1", "1"])
        assert [packet.interface for packet in read(path)] == ["eth0"] * 2


def test_nothing_unfiltered_slips_in(pair: Pair, tmp_path: Path) -> None:
    """Foreign packets pass all the while it starts; the kernel counts only the filter's own."""
    flood = pair.peer.popen(["ping", "-f", "-w", "10", pair.host.ipv4], stdout=subprocess.DEVNULL)
    path = tmp_path / "x.pcap"
    with Sniffing(pair.host, "-i", "eth0", "-w", str(path), "udp port 9") as watching:
        pair.host.run(["bash", "-c", f"echo -n hi > /dev/udp/{pair.peer.ipv4}/9"])
        said = watching.end()
    assert flood.poll() is None
    assert said.counted("captured") == said.counted("received by filter") == 1
    assert len(read(path)) == 1


def test_to_a_pipe_and_from_one(pair: Pair) -> None:
    with Sniffing(pair.host, "-i", "eth0", "-w", "-", "icmp") as watching:
        ping(pair)
        said = watching.end()
    shown = subprocess.run(["tcpdump", "-nr", "-"], input=said.out, capture_output=True, check=True)
    assert shown.stdout.count(b"ICMP echo") == 4
    again = subprocess.run(
        [sys.executable, "-m", "netkat", "sniff", "-n", "-r", "-", "icmp[0] == 8"],
        input=said.out, capture_output=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert again.stdout.count(b"ICMP echo request") == 2
    assert again.stdout.count(b"\n") == 2


def test_directions(pair: Pair) -> None:
    for way, word in (("in", "reply"), ("out", "request")):
        with Sniffing(pair.host, "-i", "eth0", "-Q", way, "-n", "icmp") as watching:
            ping(pair)
            said = watching.end()
        assert len(said.lines) == 2
        assert all(word in line for line in said.lines)


def test_any_and_several(pair: Pair) -> None:
    pair.host.ip("link set lo up")
    for interfaces in ("any", "eth0,lo"):
        with Sniffing(pair.host, "-i", interfaces, "-n", "icmp") as watching:
            ping(pair, 1)
            pair.host.run(["ping", "-c1", "127.0.0.1"])
            said = watching.end()
        lines = [line[CLOCK] for line in said.lines]
        # A packet on lo passes twice and is shown once, as it comes in.
        assert [line.split()[:2] for line in lines] == [
            ["eth0", "Out"], ["eth0", "In"], ["lo", "In"], ["lo", "In"],
        ]  # fmt: skip


def test_a_filter_that_only_the_whole_cooked_header_answers(pair: Pair) -> None:
    with Sniffing(pair.host, "-i", "any", "-n", "inbound and icmp") as watching:
        ping(pair)
        said = watching.end()
    assert [line.split()[2] for line in said.lines] == ["In", "In"]


def send_frames(pair: Pair, *frames: bytes) -> None:
    """From the peer, as they are."""

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
            wire.bind(("eth0", 0))
            for frame in frames:
                wire.send(frame)

    pair.peer.call(send)


def test_vlan_tags_from_the_metadata(pair: Pair, tmp_path: Path) -> None:
    """The kernel takes a tag out of what it receives: filter, lines and files have it again."""
    datagram = ip4(17, udp(5000, 9, b"hello"))
    tagged = ether(0x800, datagram, tags=((0x8100, 5 | 3 << 13),))
    plain = ether(0x800, datagram)
    for path in (tmp_path / "x.pcap", tmp_path / "x.pcapng"):
        with (
            Sniffing(pair.host, "-i", "eth0", "-e", "-n", "vlan 5 and udp port 9") as lines,
            Sniffing(pair.host, "-i", "eth0", "-w", str(path), "vlan 5") as file,
            Sniffing(pair.host, "-i", "eth0", "-n", "vlan 6") as other,
        ):
            send_frames(pair, plain, tagged, plain)
            said, written = lines.end(), file.end()
            assert other.end().lines == []
        assert len(said.lines) == 1
        assert "ethertype 802.1Q (0x8100), length 51: vlan 5, p 3, ethertype IPv4" in said.lines[0]
        assert written.counted("captured") == 1
        assert [packet.raw for packet in read(path)] == [tagged]


def test_a_link_without_header(pair: Pair, tmp_path: Path) -> None:
    def make_tun() -> int:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(descriptor, 0x400454CA, struct.pack("16sH22x", b"tun9", 0x1001))
        return descriptor

    descriptor = pair.host.call(make_tun)
    path = tmp_path / "x.pcap"
    try:
        pair.host.ip("link set tun9 up")
        with (
            Sniffing(pair.host, "-i", "tun9", "-n", "udp port 9") as lines,
            Sniffing(pair.host, "-i", "tun9", "-w", str(path), "udp") as file,
            Sniffing(pair.host, "-i", "any", "-n", "udp port 9") as cooked,
        ):
            os.write(descriptor, ip4(17, udp(5000, 9, b"hello")))
            said, seen = lines.end(), cooked.end()
            file.end()
    finally:
        os.close(descriptor)
    words = "IP 10.0.0.1.5000 > 10.0.0.2.9: UDP, length 5"
    assert [line[CLOCK] for line in said.lines] == [words]
    assert [line[CLOCK] for line in seen.lines] == [f"tun9  In  {words}"]
    assert "link-type RAW (Raw IP)" in said.err
    shown = subprocess.run(["tcpdump", "-tnr", path], capture_output=True, text=True, check=True)
    assert shown.stdout == f"{words}\n"


def test_count_and_short_snapshots(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    with Sniffing(pair.host, "-i", "eth0", "-c", "3", "-s", "40", "-w", str(path)) as watching:
        ping(pair, 4)
        said = watching.end(None)
    assert said.counted("captured") == 3
    packets = read(path)
    assert [len(packet.raw) for packet in packets] == [40] * 3
    assert all(packet.length > 40 for packet in packets)


def test_counts_while_it_runs(pair: Pair) -> None:
    with Sniffing(pair.host, "-i", "eth0", "-n", "icmp") as watching:
        ping(pair)
        watching.wait_for("ICMP echo", times=4)
        watching.child.send_signal(signal.SIGUSR2)
        watching.child.send_signal(signal.SIGUSR1)
        watching.wait_for_said(
            "4 packets captured, 4 packets received by filter, 0 packets dropped by kernel"
        )
        said = watching.end()
    assert said.code == 0


def test_sigusr1_during_start_does_not_end_it(pair: Pair) -> None:
    child = pair.host.popen(
        [sys.executable, "-m", "netkat", "sniff", "-i", "eth0", "-n", "icmp"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: ignores(child.pid, signal.SIGUSR1) or child.poll() is not None)
    assert child.stderr is not None
    while not select.select([child.stderr], [], [], 0.002)[0]:
        child.send_signal(signal.SIGUSR1)
    assert b"listening on" in child.stderr.readline()
    child.send_signal(signal.SIGINT)
    assert child.wait(10) == 0


def ignores(pid: int, number: signal.Signals) -> bool:
    """Whether a process ignores a signal (proc(5), SigIgn)."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_sigint_ends_it_in_a_scripts_background(pair: Pair) -> None:
    """Where the shell has it ignored; tcpdump ends there, too."""

    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    with Sniffing(pair.host, "-i", "eth0", "icmp", preexec_fn=ignore) as watching:
        assert watching.end(signal.SIGINT).code == 0


def test_json_and_statistics(pair: Pair) -> None:
    with (
        Sniffing(pair.host, "-i", "eth0", "--json", "icmp") as objects,
        Sniffing(pair.host, "-i", "eth0", "--stats", "icmp") as table,
    ):
        ping(pair)
        found = [parsed("packet", line) for line in objects.end().lines]
        rows = table.end().lines
    assert [one["direction"] for one in found] == ["out", "in"] * 2
    assert {one["interface"] for one in found} == {"eth0"}
    names = [[layer["name"] for layer in one["layers"]] for one in found]
    assert names == [["ethernet", "ipv4", "icmp"]] * 4
    assert found[0]["layers"][1]["dst"] == pair.peer.ipv4
    assert rows[1].startswith(f"icmp {pair.host.ipv4} > {pair.peer.ipv4}")
    assert rows[-1].startswith("1 flow, 4 packets")


def test_another_namespace_by_name_and_pid(pair: Pair) -> None:
    sleeper = pair.peer.popen(["sleep", "60"])
    for word in (pair.peer.name, str(sleeper.pid), f"/proc/{sleeper.pid}/ns/net"):
        with Sniffing(pair.host, "--netns", word, "-i", "eth0", "-Q", "in", "-n", "icmp") as watch:
            ping(pair)
            said = watch.end()
        assert [line.split()[6:8] for line in said.lines] == [["echo", "request,"]] * 2
    assert "eth0" in sniff_once(pair.host, "--netns", pair.peer.name, "-D").out.decode()
    wrong = sniff_once(pair.host, "--netns", "no-such-namespace", "-i", "eth0")
    assert wrong.code == 2 and "no-such-namespace" in wrong.err


def capabilities(pid: int) -> set[tuple[str, str]]:
    """Of every thread of a process: what it has, and that it can get no more."""
    wanted = ("CapEff:", "CapPrm:", "NoNewPrivs:")
    return {
        (words[0], words[1])
        for task in Path(f"/proc/{pid}/task").iterdir()
        for words in map(str.split, (task / "status").read_text().splitlines())
        if words and words[0] in wanted
    }


NOTHING, FILES = f"{0:016x}", f"{1 << 1:016x}"  # CAP_DAC_OVERRIDE


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (["-n"], NOTHING),
        (["--json", "--drops"], NOTHING),
        (["-w", "x.pcap"], NOTHING),
        (["-w", "x.pcapng", "-C", "1"], FILES),
        (["-w", "x.pcapng", "-Z", "root"], NOTHING),
    ],
)
def test_capabilities_are_gone_before_the_first_frame(
    arguments: list[str], kept: str, pair: Pair, tmp_path: Path
) -> None:
    """The library's threads included. Opening the next file of a rotation may take one."""
    with Sniffing(pair.host, "-i", "eth0", *arguments, "icmp", cwd=tmp_path) as watching:
        ping(pair)
        held = capabilities(watching.child.pid)
        task = Path(f"/proc/{watching.child.pid}/task/{watching.child.pid}")
        children = (task / "children").read_text()
        said = watching.end()
    assert held == {("CapEff:", kept), ("CapPrm:", kept), ("NoNewPrivs:", "1")}
    assert said.counted("captured") == 4
    assert not children


def test_another_user(pair: Pair, tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o777)
    for parent in list(tmp_path.parents)[:-2]:  # all but / and /tmp
        os.chmod(parent, 0o755)
    path = tmp_path / "x.pcap"
    with Sniffing(pair.host, "-i", "eth0", "-Z", "nobody", "-w", str(path), "icmp") as watching:
        status = Path(f"/proc/{watching.child.pid}/task")
        uids = {
            line.split()[2]
            for task in status.iterdir()
            for line in (task / "status").read_text().splitlines()
            if line.startswith("Uid:")
        }
        ping(pair)
        said = watching.end()
    assert uids == {"65534"}
    assert said.counted("captured") == 4
    assert path.stat().st_uid == 65534
    assert sniff_once(pair.host, "-i", "eth0", "-Z", "nosuchuser").code == 2
