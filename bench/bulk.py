"""Bulk: a file into a kernel sink, a kernel source into /dev/null; Gbit/s, and CPU seconds a GB.

Rates are taken at the kernel end, from the first byte to the last, so that the
time a tool takes to start is not in them. iperf3 measures itself.
"""

from __future__ import annotations

import json
import queue
import socket
import subprocess
import time
from functools import partial
from pathlib import Path

from bench.figures import Row, interleave
from bench.place import NETKAT, Pair, ended, listening, run, start

BLOCK = 1 << 20


def measure(pair: Pair, file: Path, runs: int) -> list[Row]:
    """Send, receive, CPU."""
    size = file.stat().st_size
    send = Row(
        "bulk send",
        "Gbit/s",
        True,
        {"iperf3 -F": (0.7, 1.0), "socat": (1.2, 1.5), "nc": (2.5, 3), "ncat": (5, 7)},
    )
    cpu = Row("CPU of the sender", "s/GB", False, {"socat": (1.5, 1.0)})
    receive = Row("bulk receive", "Gbit/s", True, {"iperf3 -R": (0.65, 0.9), "nc": (0.6, 0.8)})
    figures: queue.Queue[tuple[int, float]] = queue.Queue()

    def sink(conn: socket.socket) -> None:
        figures.put(swallow(conn))

    def source(conn: socket.socket) -> None:
        figures.put(pour(conn, size))

    def sending(tool: str, port: int) -> None:
        with file.open("rb") as stdin:
            spent = run(pair.host, command(tool, pair.peer.ipv4, port), stdin=stdin)
        count, seconds = figures.get(timeout=60)
        if count != size or spent.code:
            raise RuntimeError(f"{tool} sent {count} of {size} bytes, exit code {spent.code}")
        send.add(tool, count * 8 / seconds / 1e9)
        cpu.add(tool, spent.cpu / count * 1e9)

    def receiving(tool: str, port: int) -> None:
        spent = run(pair.host, command(tool, pair.peer.ipv4, port))
        if spent.code:
            raise RuntimeError(f"{tool} ended with {spent.code}")
        count, seconds = figures.get(timeout=60)
        receive.add(tool, count * 8 / seconds / 1e9)

    with listening(pair.peer, sink) as port:
        interleave(
            runs,
            {
                "netkat": lambda: sending("netkat", port),
                "iperf3": lambda: send.add("iperf3 -F", iperf3(pair, ["-F", str(file)], size)),
                **{tool: partial(sending, tool, port) for tool in ("socat", "nc", "ncat")},
            },
        )
    with listening(pair.peer, source) as port:
        interleave(
            runs,
            {
                "netkat": lambda: receiving("netkat", port),
                "iperf3": lambda: receive.add("iperf3 -R", iperf3(pair, ["-R"], size)),
                "nc": lambda: receiving("nc", port),
            },
        )
    return [send, cpu, receive]


def command(tool: str, host: str, port: int) -> list[str]:
    """The tool as a person would start it."""
    return {
        "netkat": [*NETKAT, host, str(port)],
        "socat": ["socat", "-u", "-b", "262144", "-", f"TCP:{host}:{port}"],
        "nc": ["nc.openbsd", "-N", host, str(port)],
        "ncat": ["ncat", "--send-only", host, str(port)],
    }[tool]


def swallow(conn: socket.socket) -> tuple[int, float]:
    """Read to the end: bytes, and seconds since the first."""
    buffer = memoryview(bytearray(BLOCK))
    count = conn.recv_into(buffer)
    begun = time.monotonic()
    total = count
    while count:
        count = conn.recv_into(buffer)
        total += count
    return total, time.monotonic() - begun


def pour(conn: socket.socket, size: int) -> tuple[int, float]:
    """Send ``size`` bytes and wait until the other side has ended: bytes, seconds."""
    block = memoryview(bytes(BLOCK))
    begun = time.monotonic()
    for _ in range(size // BLOCK):
        conn.sendall(block)
    conn.shutdown(socket.SHUT_WR)
    while conn.recv(BLOCK):
        pass
    return size, time.monotonic() - begun


def iperf3(pair: Pair, options: list[str], size: int) -> float:
    """Gbit/s of one connection, as iperf3's receiving side counts them."""
    with ended(start(pair.peer, ["iperf3", "-s", "-1"])):
        wait_for_port(pair, 5201)
        argv = ["iperf3", "-c", pair.peer.ipv4, "-J", "-n", str(size), *options]
        spent = run(pair.host, argv, stdout=subprocess.PIPE)
    summary = json.loads(spent.output)["end"]["sum_received"]
    return float(summary["bits_per_second"]) / 1e9


def wait_for_port(pair: Pair, port: int) -> None:
    """Until somebody listens on the peer; without connecting, which would end iperf3 -s -1."""
    wanted = f":{port:04X} "
    until = time.monotonic() + 5
    while time.monotonic() < until:
        lines = pair.peer.call(listeners)
        if any(wanted in line for line in lines):
            return
        time.sleep(0.01)
    raise RuntimeError(f"nobody listens on port {port}")


def listeners() -> list[str]:
    """The lines of the calling thread's namespace's listening TCP sockets."""
    lines = []
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/thread-self/net/{name}").read_text().splitlines()[1:]:
            if line.split()[3] == "0A":
                lines.append(" ".join(line.split()[1:3]))
    return lines
