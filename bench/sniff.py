"""netkat sniff against tcpdump: packets kept while writing to a file, CPU time, printed lines.

Two namespaces, one veth. A sender floods raw frames (sendmmsg, no qdisc) while
one of the two writes them to a file on tmpfs; runs are interleaved and the
median counts. Root only.

    python3 -m bench.sniff [--runs 5] [--packets 400000]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.helpers.netns import Host, netns_pair  # noqa: E402

SIZES = (64, 1514)

SENDER = r"""
import ctypes, socket, struct, sys, time
size, total, rate, interface = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
sock.bind((interface, 0))
sock.setsockopt(263, 20, 1)
head = bytes.fromhex("020063000001020063000002" "0800")
body = size - 14
ends = b"\x0a\x63\0\2" + b"\x0a\x63\0\1"
ip = struct.pack("!BBHHHBBH8s", 0x45, 0, body, 1, 0x4000, 64, 17, 0, ends)
frame = (head + ip + struct.pack("!HHHH", 4000, 9, body - 20, 0)).ljust(size, b"\0")
class IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))
class Header(ctypes.Structure):
    _fields_ = (("name", ctypes.c_void_p), ("namelen", ctypes.c_uint), ("iov", ctypes.c_void_p),
                ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p),
                ("controllen", ctypes.c_size_t), ("flags", ctypes.c_int))
class Message(ctypes.Structure):
    _fields_ = (("header", Header), ("length", ctypes.c_uint))
held = ctypes.create_string_buffer(frame, size)
iov = IoVec(ctypes.addressof(held), size)
batch = (Message * 64)()
for one in batch:
    one.header.iov, one.header.iovlen = ctypes.addressof(iov), 1
libc = ctypes.CDLL(None)
sent, began = 0, time.monotonic()
while sent < total:
    done = libc.sendmmsg(sock.fileno(), batch, min(64, total - sent), 0)
    sent += max(done, 0)
    if rate:
        ahead = sent / rate - (time.monotonic() - began)
        if ahead > 0.0005:
            time.sleep(ahead)
print(sent / (time.monotonic() - began))
"""


def command(tool: str, path: str, extra: list[str]) -> list[str]:
    """Both write what passes eth0, with the same snapshot length and the same ring."""
    common = ["-i", "eth0", "-B", "8192", "-n", *extra, *(["-w", path] if path else []), "udp"]
    if tool == "tcpdump":
        return ["tcpdump", *common]
    return [sys.executable, "-m", "netkat", "sniff", *common]


def flood(peer: Host, size: int, packets: int, rate: float) -> float:
    """Send; packets a second."""
    arguments = [str(size), str(packets), str(rate), "eth0"]
    return float(peer.run([sys.executable, "-c", SENDER, *arguments], timeout=120).stdout)


def measure(
    host: Host,
    peer: Host,
    tool: str,
    size: int,
    packets: int,
    rate: float,
    path: str,
    extra: list[str],
) -> dict[str, float]:
    """One run: what was kept, lost and spent."""
    child = host.popen(
        command(tool, path, extra),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
        text=True,
    )
    assert child.stderr is not None
    while "listening" not in child.stderr.readline():
        assert child.poll() is None, "it ended before it listened"
    time.sleep(0.3)
    before = cpu(child.pid)
    speed = flood(peer, size, packets, rate)
    time.sleep(0.5)
    now, last = cpu(child.pid), -1.0
    while now != last:  # what waits in the ring is still being worked off
        time.sleep(0.2)
        last, now = now, cpu(child.pid)
    spent = now - before
    child.send_signal(signal.SIGINT)
    said = child.communicate(timeout=60)[1]
    captured, dropped = (
        int(re.search(rf"(\d+) packets? {word}", said)[1])  # type: ignore[index]
        for word in ("captured", "dropped by kernel")
    )
    return {
        "sent": speed,
        "kept": captured,
        "lost": dropped,
        "cpu": spent,
        "pps": speed * captured / packets,
    }


def cpu(pid: int) -> float:
    """Seconds of CPU of all threads of the process that ip netns exec and setpriv became."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def compare(runs: int, packets: int, rates: list[float]) -> list[dict[str, object]]:
    """All cases, runs interleaved."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place, netns_pair("nks") as pair:
        cases: list[tuple[int, float, str, list[str]]] = [
            (size, rate, path, [])
            for size in SIZES
            for rate in rates
            for path in (f"{place}/x.pcap",)
        ]
        cases += [(64, rate, f"{place}/x.pcapng", []) for rate in rates]
        cases += [(64, 20000.0, "", []), (64, 100000.0, "", [])]
        for size, rate, path, extra in cases:
            seen: dict[str, list[dict[str, float]]] = {"tcpdump": [], "netkat": []}
            count = packets if path else int(rate * 2)
            for _ in range(runs):
                for tool, results in seen.items():
                    results.append(
                        measure(pair.host, pair.peer, tool, size, count, rate, path, extra)
                    )
                    if path:
                        os.unlink(path)
            for tool, results in seen.items():
                row: dict[str, object] = {
                    "case": f"{size} B to {Path(path).suffix or 'lines'}"
                    f"{f' at {rate:.0f}/s' if rate else ', flooded'}",
                    "tool": tool,
                }
                for key in ("sent", "pps", "lost", "cpu"):
                    row[key] = round(statistics.median(one[key] for one in results), 3)
                rows.append(row)
                print(json.dumps(row), flush=True)
    return rows


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--packets", type=int, default=400_000)
    parser.add_argument("--rates", default="0,100000", help="packets a second; 0 floods")
    given = parser.parse_args()
    compare(given.runs, given.packets, [float(rate) for rate in given.rates.split(",")])


if __name__ == "__main__":
    main()
