"""netkat sniff compared with tcpdump: packets kept, CPU time, printed lines.

A sender on one processor floods raw frames (sendmmsg, around the qdisc) over the veth;
the tool has the other one and writes to a file in memory, both with the same ring. What
is kept is divided by the sender's own CPU time: the tap's work is in that, and other
work on the machine is not.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.samples import Comparison, interleave
from bench.testbed import NETKAT, Extent, Pair, run, start
from tests.helpers.netns import netns_pair

TOOLS = {"netkat": [*NETKAT, "sniff"], "tcpdump": ["tcpdump"]}
SIZES_AND_FILES = (64, ".pcap"), (1514, ".pcap"), (64, ".pcapng")
RING_KIB = 8192
STEADY = 0.1
"""Seconds without CPU time after which a tool has finished."""
_PATIENCE = 120.0

SENDER = r"""
import ctypes, os, socket, struct, sys, time
size, total, interface = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
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
sent, cpu, began = 0, time.process_time(), time.monotonic()
while sent < total:
    done = libc.sendmmsg(sock.fileno(), batch, min(64, total - sent), 0)
    sent += max(done, 0)
print(time.process_time() - cpu, time.monotonic() - began)
"""


@dataclass(frozen=True)
class Case:
    """Size of the packets, and the output: a file with this suffix, or lines."""

    size: int
    suffix: str
    packets: int

    @property
    def what(self) -> str:
        """Describe the case."""
        place = f"to {self.suffix}" if self.suffix else "as lines"
        return f"sniff, {self.size}-byte frames {place}"

    def rows(self) -> tuple[Comparison, Comparison, Comparison]:
        """Return packets per second, CPU per packet and share lost."""
        file = bool(self.suffix)
        rate = Comparison(f"{self.what}: {'kept' if file else 'printed'}", "1/s", True)
        cpu = Comparison(f"{self.what}: CPU a packet", "us", False)
        lost = Comparison(f"{self.what}: lost", "%", False)
        if file:
            # Where neither loses a frame the rate is the sender's, and differs by its noise.
            rate.bounds, cpu.bounds = {"tcpdump": (0.95, 1)}, {"tcpdump": (2, 1)}
        return rate, cpu, lost


@dataclass(frozen=True)
class Seen:
    """One run: packets captured and lost; seconds of the sender's CPU, wall time, CPU time."""

    captured: int
    dropped: int
    sending: float
    working: float
    cpu: float


def measure(extent: Extent) -> list[Comparison]:
    """Measure packets kept per second, CPU per packet, losses and lines per second."""
    if extent.short:
        cases = [Case(64, ".pcap", 50_000), Case(64, "", 20_000)]
    else:
        cases = [
            *(Case(size, suffix, 300_000) for size, suffix in SIZES_AND_FILES),
            Case(64, "", 300_000),
        ]
    rows: list[Comparison] = []
    with netns_pair("nkb") as pair, tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        for case in cases:
            rate, cpu, lost = case.rows()

            def add(
                tool: str, case: Case, rate: Comparison, cpu: Comparison, lost: Comparison
            ) -> None:
                seen = watch(pair, tool, case, place)
                rate.add(tool, seen.captured / (seen.sending if case.suffix else seen.working))
                cpu.add(tool, seen.cpu / max(seen.captured, 1) * 1e6)
                lost.add(tool, seen.dropped / case.packets * 100)

            tools: dict[str, Callable[[], None]] = {
                tool: partial(add, tool, case, rate, cpu, lost) for tool in TOOLS
            }
            interleave(extent.runs, tools)
            rows += [rate, cpu, lost]
    return rows


def watch(pair: Pair, tool: str, case: Case, place: str) -> Seen:
    """Run one tool while packets are sent at full rate."""
    path = Path(place, f"x{case.suffix}")
    writes = ["-w", str(path)] if case.suffix else []
    options = ["-i", "eth0", "-B", str(RING_KIB), "-n", *writes, "udp"]
    child = start(pair.host, [*_pinned(), *TOOLS[tool], *options], stderr=subprocess.PIPE)
    try:
        assert child.stderr is not None
        while "listening" not in child.stderr.readline():
            if child.poll() is not None:
                raise RuntimeError(f"{tool} ended before it listened")
        before = _settled(child.pid)[0]
        arguments = [str(case.size), str(case.packets), "eth0"]
        sent = run(pair.peer, [sys.executable, "-c", SENDER, *arguments], stdout=subprocess.PIPE)
        sending, wall = map(float, sent.output.split())
        begun = time.monotonic() - wall
        after, ended = _settled(child.pid)
        child.send_signal(signal.SIGINT)
        output = child.communicate(timeout=_PATIENCE)[1]
    finally:
        child.kill()
        child.wait()
        path.unlink(missing_ok=True)
    counts = [re.search(rf"(\d+) packets? {word}", output) for word in ("captured", "dropped")]
    captured, dropped = (int(found[1]) if found else 0 for found in counts)
    return Seen(captured, dropped, sending, max(ended - begun, wall), after - before)


def _pinned() -> list[str]:
    """Return the command prefix that keeps a tool off the sender's processor."""
    return ["taskset", "-c", str(max(os.sched_getaffinity(0)))]


def _settled(pid: int) -> tuple[float, float]:
    """Wait until a process is idle. Return its CPU time, and since when it is idle."""
    last, since = -1.0, time.monotonic()
    end = since + _PATIENCE
    while time.monotonic() < end:
        spent = _cpu(pid)
        # A live capture looks at its ring now and then.
        if spent - last > 0.002:
            last, since = spent, time.monotonic()
        elif time.monotonic() - since > STEADY:
            return spent, since
        time.sleep(0.02)
    raise RuntimeError("the tool is never done")


def _cpu(pid: int) -> float:
    """Return the CPU seconds of all threads of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
